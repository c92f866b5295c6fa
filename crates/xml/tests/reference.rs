//! The reader's tests, on the reader that the scanner is held against.

use xml::RxmlReader as Subject;

mod suite;

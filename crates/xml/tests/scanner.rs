//! The reader's tests, on the scanner.

use xml::Scanner as Subject;

mod suite;

// The chat page in headless Chromium: how people on it are made to type, and what it shows them.

import { createRequire } from 'node:module';

const require = createRequire(`${process.env.INTEROP_NODE}/`);
const puppeteer = require('puppeteer-core');

export const ok = (text) => console.log(`ok: ${text}`);
export const launch = (executablePath) => puppeteer.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });

/** What went wrong in the pages. */
export const faults = [];
export async function visit(browser, url) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setViewport({ width: 1100, height: 720 });
  page.setDefaultTimeout(40_000);
  page.on('dialog', (dialog) => dialog.accept());
  page.on('pageerror', (error) => faults.push(`${error}`));
  page.on('console', (line) => {
    if (/Content Security Policy|Uncaught/.test(line.text())) faults.push(line.text());
  });
  await page.goto(`${url}/chat/`);
  return page;
}

export async function login(page, name, password) {
  for (const [field, text] of [['#address', name], ['#password', password]]) {
    await page.$eval(field, (input) => { input.value = ''; });
    await page.type(field, text);
  }
  await page.keyboard.press('Enter');
}

export const shows = (page, selector, text) => page.waitForFunction(
  (where, what) => [...document.querySelectorAll(where)].some((one) => one.checkVisibility() && one.textContent.includes(what)),
  {}, selector, text,
);
export async function fill(page, field, text) {
  await page.type(field, text);
  await page.keyboard.press('Enter');
}

/** A picture of each page, where a step failed. */
export async function failed(browser, pictures, step, error) {
  console.log(`failed: ${step}: ${error.message}`);
  for (const [at, context] of browser.browserContexts().entries()) {
    for (const page of await context.pages()) await page.screenshot({ path: `${pictures}/failed-${at}.png` }).catch(() => {});
  }
  process.exitCode = 1;
}

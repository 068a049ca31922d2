// The dashboard as a reader meets it, in a real browser: the way in by keyboard, the figures, the
// picture against its table, dark, narrow, printed, and read aloud. Needs a gateway with some
// traffic in its ledger:
//
//   DASHBOARD_URL   its address, http://127.0.0.1:8080
//   DASHBOARD_KEY   a key with the role finance
//   SCREENSHOTS     a folder for pictures of the pages; none are kept without
//   CHROMIUM        the browser, /usr/bin/chromium unless set

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';

const address = process.env.DASHBOARD_URL;
const key = process.env.DASHBOARD_KEY;
const pictures = process.env.SCREENSHOTS;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const wide = { width: 1440, height: 900 };
const narrow = { width: 390, height: 844 };

/** Dollars as the page keeps them in full, as a whole number of picodollars. */
function picodollars(text) {
  const [, sign, whole, fraction] = text.match(/^(-?)(\d+)\.(\d{1,12})$/) ?? assert.fail(text);
  return BigInt(sign + whole + fraction.padEnd(12, '0'));
}

const sum = (amounts) => amounts.reduce((total, amount) => total + amount, 0n);

let browser;

before(async () => {
  assert.ok(address && key, 'set DASHBOARD_URL and DASHBOARD_KEY');
  if (pictures) mkdirSync(pictures, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
  });
});

after(() => browser?.close());

/** A fresh visitor. Scripts of the page's own are off: it must be whole without. */
async function visitor(t, options = {}) {
  const context = await browser.newContext({ viewport: wide, javaScriptEnabled: false, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  page.complaints = [];
  page.on('console', (message) => message.type() === 'error' && page.complaints.push(message.text()));
  page.on('request', (request) => {
    if (!request.url().startsWith(address)) page.complaints.push(`asks ${request.url()}`);
  });
  return page;
}

async function signIn(page) {
  await page.goto(`${address}/dashboard`);
  assert.match(page.url(), /\/dashboard\/login$/);
  await page.getByLabel('Key').fill(key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { level: 1, name: 'Spend and savings' }).waitFor();
}

async function keep(page, name, options = {}) {
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true, ...options });
}

const exact = async (locator) => picodollars(await locator.getAttribute('data-exact'));
const allExact = async (locator) =>
  (await locator.evaluateAll((found) => found.map((one) => one.dataset.exact))).map(picodollars);

const groupings = ['team', 'host', 'day'];

describe('the dashboard', () => {
  test('is entered and left by keyboard alone', async (t) => {
    const page = await visitor(t);
    await page.goto(`${address}/dashboard`);
    await page.getByLabel('Key').focus();
    await page.keyboard.type(key);
    await page.keyboard.press('Tab');
    assert.equal(await page.locator(':focus').textContent(), 'Sign in');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.keyboard.press('Tab');
    assert.equal(await page.locator(':focus').textContent(), 'Skip to the figures');
    for (let step = 0; step < 10; step += 1) {
      await page.keyboard.press('Tab');
      if ((await page.locator(':focus').textContent()) === 'Sign out') break;
    }
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/dashboard\/login$/);
    await page.goto(`${address}/dashboard`);
    assert.match(page.url(), /\/dashboard\/login$/);
  });

  test('keeps a wrong key out and says why', async (t) => {
    const page = await visitor(t);
    await page.goto(`${address}/dashboard/login`);
    await page.getByLabel('Key').fill(`tg_${Date.now()}_nobody`);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').waitFor();
    assert.match(await page.getByRole('alert').textContent(), /not known here/);
    assert.deepEqual(await page.context().cookies(), []);
  });

  test('keeps its session out of reach of scripts and other sites', async (t) => {
    const page = await visitor(t);
    await signIn(page);
    const [cookie, ...others] = await page.context().cookies();
    assert.deepEqual(others, []);
    assert.equal(cookie.name, 'tollgate_session');
    assert.equal(cookie.httpOnly, true);
    assert.equal(cookie.sameSite, 'Strict');
    assert.equal(cookie.path, '/dashboard');
    assert.ok(!cookie.value.includes(key));
  });

  for (const by of groupings) {
    test(`has the same money in picture, table and headline by ${by}`, async (t) => {
      const page = await visitor(t);
      await signIn(page);
      await page.getByRole('link', { name: `By ${by}` }).click();
      await page.waitForURL(new RegExp(`by=${by}`));
      const spent = await exact(page.locator('#spent data'));
      assert.ok(spent > 0n, 'there is some spend to look at');
      const rows = await allExact(page.locator('#spend tbody td.cost data'));
      assert.equal(sum(rows), spent);
      assert.equal(await exact(page.locator('#spend tfoot td.cost data')), spent);
      assert.equal(sum(await allExact(page.locator('.picture g[data-bar]'))), spent);
      assert.equal(sum(await allExact(page.locator('.picture rect.part'))), spent);
      assert.equal(sum(await allExact(page.locator('#parts td:not(.sum) data'))), spent);
      for (const bar of await page.locator('.picture g[data-bar]').all()) {
        const name = await bar.getAttribute('data-bar');
        const row = page.locator('#spend tbody tr').and(page.locator(`[data-group=${JSON.stringify(name)}]`));
        if (await row.count()) assert.equal(await exact(row.locator('td.cost data')), await exact(bar), name);
      }
      await keep(page, `by-${by}-wide`);
      assert.deepEqual(page.complaints, []);
    });
  }

  test('draws bars as long as their money', async (t) => {
    const page = await visitor(t);
    await signIn(page);
    const bars = [];
    for (const bar of await page.locator('.picture g[data-bar]').all()) {
      const parts = await bar.locator('rect.part').all();
      const boxes = await Promise.all(parts.map((part) => part.boundingBox()));
      bars.push({ money: Number(await exact(bar)), length: boxes.reduce((total, box) => total + box.width, 0) });
    }
    const longest = bars.reduce((one, other) => (other.money > one.money ? other : one));
    for (const bar of bars) {
      const expected = (bar.money / longest.money) * longest.length;
      assert.ok(Math.abs(bar.length - expected) < 12, `${bar.length} is not about ${expected}`);
    }
  });

  test('keeps its days in the address', async (t) => {
    const page = await visitor(t);
    await signIn(page);
    await page.getByRole('link', { name: 'Today' }).click();
    const day = new URL(page.url()).searchParams.get('to');
    assert.equal(new URL(page.url()).searchParams.get('from'), day);
    await page.getByLabel('From').fill(`${day.slice(0, 8)}01`);
    await page.getByRole('button', { name: 'Show' }).click();
    await page.waitForURL(/from=\d{4}-\d\d-01&to=/);
    await page.getByRole('link', { name: 'By host' }).click();
    assert.match(page.url(), /from=\d{4}-\d\d-01&to=.*by=host/);
    await page.goBack();
    assert.doesNotMatch(page.url(), /by=host/);
  });

  test('leads from a request to the whole of its decision', async (t) => {
    const page = await visitor(t);
    await signIn(page);
    const row = page.getByRole('row').filter({ has: page.locator('a[href*="/dashboard/requests/"]') }).first();
    const why = (await row.locator('.why').textContent()).trim();
    await row.getByRole('link').click();
    assert.equal((await page.locator('#why').textContent()).trim(), why);
    await page.getByRole('heading', { name: 'What was weighed' }).waitFor();
    await page.getByRole('heading', { name: 'What was ruled out' }).waitFor();
    await keep(page, 'request-wide');
    await page.setViewportSize(narrow);
    await keep(page, 'request-narrow');
    assert.deepEqual(page.complaints, []);
  });

  test('is dark where its reader likes it dark', async (t) => {
    const brightness = async (colorScheme) => {
      const page = await visitor(t, { colorScheme, javaScriptEnabled: true });
      await signIn(page);
      await keep(page, `overview-wide-${colorScheme}`);
      const colour = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      return Math.max(...colour.match(/\d+/g).map(Number));
    };
    assert.ok((await brightness('light')) > 200);
    assert.ok((await brightness('dark')) < 60);
  });

  for (const colorScheme of ['light', 'dark']) {
    test(`fits a telephone, ${colorScheme}`, async (t) => {
      const page = await visitor(t, { viewport: narrow, colorScheme, javaScriptEnabled: true });
      await page.goto(`${address}/dashboard`);
      await keep(page, `login-narrow-${colorScheme}`);
      await signIn(page);
      for (const by of groupings) {
        await page.goto(`${address}/dashboard?by=${by}`);
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= narrow.width, `${width} pixels by ${by}`);
        await keep(page, `by-${by}-narrow-${colorScheme}`);
      }
      await page.locator('a[href*="/dashboard/requests/"]').first().click();
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= narrow.width);
      const panel = await page.locator('.panel').first().boundingBox();
      const meters = await page.locator('.meters').boundingBox();
      assert.ok(meters.x + meters.width <= panel.x + panel.width, 'the meters stay within their panel');
    });
  }

  for (const viewport of [wide, narrow]) {
    for (const colorScheme of ['light', 'dark']) {
      test(`has nothing that bars a reader, ${viewport.width} pixels, ${colorScheme}`, async (t) => {
        // The checker is a script, so for it alone the policy is set aside.
        const page = await visitor(t, { viewport, colorScheme, javaScriptEnabled: true, bypassCSP: true });
        const check = async (what) => {
          await page.locator('details').evaluateAll((found) => found.forEach((one) => { one.open = true; }));
          await page.evaluate(axe);
          const { violations } = await page.evaluate(() => globalThis.axe.run());
          const told = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).slice(0, 3).join(' | ')}`);
          assert.deepEqual(told, [], what);
        };
        await page.goto(`${address}/dashboard/login`);
        await check('login');
        await signIn(page);
        for (const by of groupings) {
          await page.goto(`${address}/dashboard?by=${by}`);
          await check(by);
        }
        await page.locator('a[href*="/dashboard/requests/"]').first().click();
        await check('request');
        await page.goto(`${address}/dashboard/nothing`);
        await check('not found');
      });
    }
  }

  test('prints its figures and none of its controls', async (t) => {
    const page = await visitor(t, { javaScriptEnabled: true });
    await signIn(page);
    // An upright A4 page between its margins.
    await page.setViewportSize({ width: 688, height: 1000 });
    await page.emulateMedia({ media: 'print' });
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 688, 'wider than paper');
    assert.equal(await page.getByRole('button', { name: 'Show' }).isVisible(), false);
    assert.equal(await page.locator('#spend').isVisible(), true);
    assert.equal(await page.locator('.picture').isVisible(), true);
    if (pictures) await page.pdf({ path: join(pictures, 'overview.pdf'), format: 'A4' });
  });
});

// Opens every page of pages.json in Chromium: at two widths, in both themes, and on paper.
//
// For each: nothing is fetched, nothing is said on the console (which a breach of the Content-Security-Policy would be),
// the page is not wider than the window, no text is cut, and axe-core finds nothing. Pictures and PDFs stay beside
// pages.json, to be looked at.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { chromium } = require("playwright-core");

const folder = process.argv[2];
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const flags = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
// On paper the first and the last thing that is said, and all between.
const titles = ["Source", "Parameters", "Completeness", "Accuracy", "How to verify by hand", "Runs", "Made by kt-export"];

// What is wrong with the page as it stands in the browser.
function wrong() {
  const found = [];
  const root = document.scrollingElement;
  if (root.scrollWidth > innerWidth) found.push(`the page is ${root.scrollWidth} px wide in a window of ${innerWidth}`);
  if (document.querySelectorAll("h1").length !== 1) found.push("there is not one h1");
  if (document.querySelector("script, link, img, iframe, object, [onclick], [style]")) found.push("there is active content");
  const boxes = [...document.querySelectorAll("main p, dt, dd, li, td, th, h1, h2, h3, summary, pre, figcaption")];
  for (const box of boxes) {
    // What scrolls is not cut.
    const limit = box.closest(".scroll") ? Infinity : innerWidth;
    if (box.getClientRects().length && (box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).display !== "inline"
      || box.getBoundingClientRect().right > limit + 1)) {
      found.push(`cut or outside: <${box.localName}> ${box.textContent.slice(0, 60)}`);
    }
  }
  // Names below bars must not run into each other.
  const labels = [...document.querySelectorAll(".bars text")].map((text) => text.getBoundingClientRect()).filter((r) => r.width);
  labels.sort((a, b) => a.left - b.left);
  labels.forEach((r, n) => { if (n && labels[n - 1].right > r.left) found.push("labels of the chart overlap"); });
  return found.slice(0, 5);
}

async function look(browser, page, width, colorScheme) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, javaScriptEnabled: true });
  const tab = await context.newPage();
  const problems = [];
  const url = pathToFileURL(page.file).href;
  tab.on("console", (message) => problems.push(`console: ${message.text()}`));
  tab.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  tab.on("request", (request) => { if (request.url().split("#")[0] !== url) problems.push(`asks for ${request.url()}`); });
  await tab.goto(url);
  if (!page.is_long) {
    const picture = path.join(folder, `${page.name}-${width}-${colorScheme}.png`);
    await tab.screenshot({ path: picture, fullPage: true });
  }
  problems.push(...await tab.evaluate(wrong));
  // What is behind a summary counts, too; of many alike, the first ones.
  await tab.evaluate(() => [...document.querySelectorAll("details")].slice(0, 6).forEach((d) => { d.open = true; }));
  problems.push(...await tab.evaluate(wrong));
  await tab.evaluate(axe);
  const result = await tab.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const violation of result.violations) {
    problems.push(`axe ${violation.id}: ${violation.help}: ${violation.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" / ")}`);
  }
  await context.close();
  return problems;
}

async function print(browser, page) {
  const context = await browser.newContext({ colorScheme: "dark" });
  const tab = await context.newPage();
  await tab.goto(pathToFileURL(page.file).href);
  const file = path.join(folder, `${page.name}.pdf`);
  await tab.pdf({ path: file, format: "A4", preferCSSPageSize: true, printBackground: false });
  await context.close();
  const text = execFileSync("pdftotext", ["-layout", file, "-"], { maxBuffer: 1 << 28 }).toString();
  const pages = text.split("\f").length - 1;
  const problems = titles.filter((title) => !text.includes(title)).map((title) => `not on paper: ${title}`);
  if (!new RegExp(`\\b${pages}\\s*/\\s*${pages}\\b`).test(text)) problems.push(`page ${pages} has no number`);
  return [pages, problems];
}

async function main() {
  const pages = JSON.parse(fs.readFileSync(path.join(folder, "pages.json"), "utf8"));
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags, chromiumSandbox: false });
  let failed = false;
  for (const page of pages) {
    const begun = Date.now();
    const problems = [];
    for (const width of page.is_long ? [390] : [1280, 390]) {
      for (const scheme of page.is_long ? ["light"] : ["light", "dark"]) {
        for (const problem of await look(browser, page, width, scheme)) problems.push(`${width} px, ${scheme}: ${problem}`);
      }
    }
    const [count, onPaper] = await print(browser, page);
    problems.push(...onPaper);
    failed ||= problems.length > 0;
    const seconds = ((Date.now() - begun) / 1000).toFixed(1);
    const kib = Math.round(fs.statSync(page.file).size / 1024);
    console.log(`${problems.length ? "FAIL" : "ok  "} ${page.name}: ${kib} KiB, ${count} pages on paper, ${seconds} s`);
    problems.forEach((problem) => console.log(`     ${problem}`));
  }
  await browser.close();
  process.exit(failed ? 1 : 0);
}

main().catch((error) => { console.error(error); process.exit(1); });

"""A small shop over https, as sites are: inline code, a CDN, fonts, images, a payment frame, an API, a worker. Each
page checks by itself that everything on it works, and shows the result as its title.
"""

from urllib.parse import quote

from website import Page

SHOP, CDN, FONTS, PAY, API = HOSTS = (
    "www.shop.test", "cdn.shop.test", "fonts.test", "pay.test", "api.test")
DONE = "all works"

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>'
# Loads what a page needs from a script, waits for all of it, and checks that each part has had its effect.
APP = """
const checks = {};
const origin = (name) => document.querySelector(`meta[name=${name}]`).content;
const works = (name, promise) => { checks[name] = promise.then((value) => Boolean(value), () => false); };
const loaded = (element) => new Promise((resolve, reject) => {
  element.onload = () => resolve(true); element.onerror = reject;
});
works("api", fetch(origin("api") + "/stock.json").then((answer) => answer.json()).then((json) => json.stock));
works("own fetch", fetch("/cart.json").then((answer) => answer.json()).then((json) => json.items));
works("worker", new Promise((resolve, reject) => {
  const worker = new Worker("/worker.js"); worker.onmessage = () => resolve(true); worker.onerror = reject;
}));
const paid = new Promise((resolve) => addEventListener("message", (event) => resolve(event.data === "pay")));
if (document.querySelector("iframe")) works("frame", paid);
const late = new Image(); works("image of a script", loaded(late)); late.src = origin("cdn") + "/late.svg";
addEventListener("load", async () => {
  const color = (selector) => getComputedStyle(document.querySelector(selector)).color;
  checks["inline script"] = window.inline === 1;
  checks["script of the CDN"] = window.lib === 1;
  checks["inline style"] = color("h1") === "rgb(1, 2, 3)";
  checks["style sheet"] = color("p") === "rgb(4, 5, 6)";
  checks["style sheet of the CDN"] = color("em") === "rgb(7, 8, 9)";
  for (const image of document.images) checks[image.id] = image.naturalWidth > 0;
  const slow = new Promise((resolve) => setTimeout(resolve, 5000, false));
  const broken = [];
  for (const [name, check] of Object.entries(checks))
    if (!await Promise.race([check, slow])) broken.push(name);
  document.fonts.load("12px Shop").catch(() => 0).then(() => {
    document.title = broken.length ? "broken: " + broken.join(", ") : "all works";
  });
});
"""
RESOURCES = {
    "/app.js": Page(APP, "text/javascript"),
    "/worker.js": Page("postMessage('ready')", "text/javascript"),
    "/style.css": Page("p { color: rgb(4, 5, 6); font-family: Shop }", "text/css"),
    "/cart.json": Page('{"items": 3}', "application/json"),
    "/logo.svg": Page(SVG, "image/svg+xml"),
    "/favicon.ico": Page(SVG, "image/svg+xml"),
    "/lib.js": Page("window.lib = 1", "text/javascript"),
    "/product.svg": Page(SVG, "image/svg+xml"),
    "/late.svg": Page(SVG, "image/svg+xml"),
    "/shop.woff2": Page("", "font/woff2", Access_Control_Allow_Origin="*"),
    "/stock.json": Page('{"stock": 7}', "application/json", Access_Control_Allow_Origin="*"),
    "/pay.html": Page("<!doctype html><title>pay</title><script>parent.postMessage('pay', '*')</script>"),
}
DATA = "data:image/svg+xml," + quote(SVG)
PATHS = ("/", "/product", "/checkout")


def page(port, path):
    """Returns the HTML of a page; the three differ in what they load."""
    cdn, pay, api = (f"https://{host}:{port}" for host in (CDN, PAY, API))
    return (
        f'<!doctype html><html lang=en><meta charset=utf-8><title>loading</title>'
        f'<meta name=cdn content="{cdn}"><meta name=api content="{api}">'
        '<script>window.inline = 1</script>'
        '<style>h1 { color: rgb(1, 2, 3) }</style>'
        f'<link rel=stylesheet href=/style.css><link rel=stylesheet href={cdn}/theme.css>'
        f'<script src={cdn}/lib.js></script><script src=/app.js></script>'
        '<h1>Shop</h1><p>text</p><em>offer</em>'
        '<img id=logo src=/logo.svg alt=logo>'
        + (f'<img id=product src={cdn}/product.svg alt=product>' if path == "/product" else "")
        + (f'<img id=placeholder src="{DATA}" alt>' if path == "/" else "")
        + (f'<iframe src={pay}/pay.html title=pay></iframe>' if path == "/checkout" else ""))


def pages(port, **headers):
    """Returns every page and resource by path; `headers` go with the pages."""
    theme = (f"@font-face {{ font-family: Shop; src: url(https://{FONTS}:{port}/shop.woff2) }} "
             "em { color: rgb(7, 8, 9) }")
    return {**RESOURCES, "/theme.css": Page(theme, "text/css"),
            **{path: Page(page(port, path), **headers) for path in PATHS}}

/** The pages and the SDK, as files. */
import { createReadStream } from "node:fs";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { settings } from "./settings.mjs";

const PAGES = fileURLToPath(new URL("../public", import.meta.url));
const SDK = dirname(fileURLToPath(import.meta.resolve("@fleetlm/js")));
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };

const HEADERS = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src 'self' ${settings.fleetUrl} ${settings.fleetUrl.replace(/^http/, "ws")}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-cache",
};

/** Answer with the file of this path. */
export function servePage(pathname, { method }, response) {
  const file = fileOf(pathname);
  if (!file || !["GET", "HEAD"].includes(method)) return void response.writeHead(404).end("Not found");
  const stream = createReadStream(file);
  stream.once("error", () => response.writeHead(404).end("Not found"));
  stream.once("open", () => {
    response.writeHead(200, { ...HEADERS, "content-type": TYPES[extname(file)] });
    stream.pipe(response);
  });
}

function fileOf(pathname) {
  const path = normalize(pathname === "/" ? "/index.html" : pathname);
  if (!(extname(path) in TYPES)) return null;
  return path.startsWith("/sdk/") ? join(SDK, path.slice("/sdk".length)) : join(PAGES, path);
}

import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

// Here the SDK is used from its sources, so that nothing has to be built first. A project of your own needs no alias.
const sdk = fileURLToPath(new URL("../../clients/typescript/src", import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^@fleetlm\/js$/, replacement: `${sdk}/index.ts` },
      { find: /^@fleetlm\/js\/(\w+)$/, replacement: `${sdk}/$1.ts` },
    ],
  },
});

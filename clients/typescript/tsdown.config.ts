import { defineConfig } from "tsdown";

export default defineConfig({
  entry: ["src/index.ts", "src/agent.ts", "src/react.ts", "src/ai.ts"],
  format: "esm",
  dts: true,
  platform: "neutral",
  target: "es2022",
  clean: true,
  deps: { neverBundle: [/^node:/] },
});

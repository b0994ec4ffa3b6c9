import { defineConfig } from "tsdown";

export default defineConfig({
  entry: ["src/index.ts", "src/agent.ts", "src/react.ts", "src/ai.ts"],
  format: "esm",
  dts: true,
  platform: "neutral",
  clean: true,
});

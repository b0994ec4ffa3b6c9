declare module "ws" {
  import type { WebSocketConstructor } from "../src/index.js";
  export const WebSocket: WebSocketConstructor;
}

/** The SDK, as this demo's server serves it. With a bundler, import "@fleetlm/js" instead. */
export * from "/sdk/index.js";

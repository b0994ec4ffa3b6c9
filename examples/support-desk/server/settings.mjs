/** Where everything is; all of it can be moved by the environment. */
const { env } = process;
const host = env.HOST ?? "127.0.0.1";
const port = Number(env.PORT ?? 4100);
const ownUrl = env.DESK_URL ?? `http://${host}:${port}`;

export const settings = Object.freeze({
  host,
  port,
  /** Where FleetLM can call this server. */
  ownUrl,
  /** Where FleetLM is. */
  fleetUrl: env.FLEETLM_URL ?? "http://127.0.0.1:4000",
  /** An API key with the scopes read, write and admin; a development server needs none. */
  apiKey: env.FLEETLM_API_KEY || undefined,
  /** Seconds for which a visitor's token is good; the page gets the next one by itself. */
  tokenSeconds: Number(env.TOKEN_SECONDS ?? 3600),
  /** A model server that speaks OpenAI's chat completions, with tools. Without it the bot follows its script. */
  model: env.MODEL_URL ? { url: env.MODEL_URL, name: env.MODEL ?? "gpt-4o-mini", key: env.MODEL_KEY } : null,
});

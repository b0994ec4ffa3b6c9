/** The credential: where it comes from, how long it is good for, and whose it is. */
import { FleetLMError } from "./errors.js";
import type { FleetLMOptions } from "./types.js";

/** A token is replaced so long before it expires, or a fifth of its life if that is shorter. */
const MARGIN_MS = 30_000;

interface Claims {
  sub?: unknown;
  exp?: unknown;
  iat?: unknown;
}

export class Tokens {
  /** The last token that was given; undefined before, and where there is none. */
  known: string | undefined;
  /** When the known token is to be replaced, in milliseconds since 1970; infinite if never. */
  replaceAt: number = Infinity;
  participantId: string | null;
  readonly #source: FleetLMOptions["token"];
  #fetching: Promise<string> | null = null;

  constructor(source: FleetLMOptions["token"], participantId: string | undefined) {
    this.#source = source;
    this.participantId = participantId ?? null;
    if (typeof source === "string") this.#take(source, Infinity);
  }

  /** A token that is good for a while. Rejects with the error `token`, which passes, if the function fails. */
  async current(): Promise<string | undefined> {
    if (typeof this.#source !== "function") return this.known;
    if (this.known !== undefined && Date.now() < this.replaceAt) return this.known;
    return this.#fetch();
  }

  /** The server refuses this token: whether there is another one now. */
  async replace(refused: string | undefined): Promise<boolean> {
    if (typeof this.#source !== "function") return false;
    if (this.known === refused) await this.#fetch();
    return this.known !== refused;
  }

  #fetch(): Promise<string> {
    this.#fetching ??= this.#ask().finally(() => (this.#fetching = null));
    return this.#fetching;
  }

  async #ask(): Promise<string> {
    let token: string;
    try {
      token = await (this.#source as () => string | Promise<string>)();
    } catch (cause) {
      throw new FleetLMError("token", "The token function has failed.", { cause });
    }
    const { exp, iat } = this.#take(token);
    if (typeof exp === "number") {
      // By the difference of the claims where it can be: the clock of this device may be wrong.
      const life = (typeof iat === "number" ? exp - iat : exp - Date.now() / 1_000) * 1_000;
      this.replaceAt = Date.now() + life - Math.min(MARGIN_MS, life / 5);
    }
    return token;
  }

  #take(token: string, replaceAt = Infinity): Claims {
    const claims = claimsOf(token);
    this.known = token;
    this.replaceAt = replaceAt;
    if (typeof claims.sub === "string") this.participantId = claims.sub;
    return claims;
  }
}

/** What a JWT says, unverified; nothing for an API key. */
function claimsOf(token: string): Claims {
  try {
    const payload = token.split(".")[1] ?? "";
    return JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/"))) as Claims;
  } catch {
    return {};
  }
}

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import type { Conversation } from "../../src/index.js";
import { Proxy } from "./proxy.js";
import { client, fresh, joined, OPEN, server, type Transport, TRANSPORTS, until } from "./server.js";

/** The server's Python, in its environment: an operator deletes conversations, not the API. */
const PYTHON = process.env.FLEETLM_PYTHON ?? "";
const ROOT = new URL("../../../..", import.meta.url).pathname;

async function deleteConversations(keys: string[]): Promise<void> {
  const script = `from conversations.models import Conversation; Conversation.objects.filter(key__in=${JSON.stringify(keys)}).delete()`;
  await promisify(execFile)(PYTHON, ["manage.py", "shell", "-c", script], { cwd: ROOT });
}

/** One who follows a conversation, and one who is away. */
class Scene {
  readonly alice: string = fresh("alice");
  readonly bob: string = fresh("bob");
  readonly key: string = `${this.alice}:${this.bob}`;
  readonly here: Conversation;
  readonly away: Conversation;
  readonly followed: string[] = [];

  constructor(transport: Transport, awayUrl: string) {
    this.here = client({ participantId: this.alice, transport }).conversation(this.key);
    this.away = client({ participantId: this.alice, transport, url: awayUrl }).conversation(this.key);
  }

  async say(text: string): Promise<void> {
    await server.conversation(this.key).send(text, { sender_id: this.bob });
  }

  /** Follow it until something is new. */
  async follow(): Promise<string[]> {
    for await (const { text } of this.away.messages()) if (this.followed.push(text) && text === "new") break;
    return this.followed;
  }
}

// A management command takes its time.
describe.skipIf(!OPEN || !PYTHON)("a conversation that is deleted", { timeout: 60_000 }, () => {
  it("ends for those who follow it, and begins anew for those who were away", async () => {
    const proxy = await Proxy.before(OPEN);
    const scenes = TRANSPORTS.map((transport) => new Scene(transport, proxy.url));
    for (const scene of scenes) {
      await scene.say("old");
      await scene.say("older");
      await Promise.all([joined(scene.here), joined(scene.away)]);
    }
    const following = scenes.map((scene) => scene.follow());
    proxy.down = true;
    proxy.cut();
    await Promise.all(scenes.map(({ away }) => until(away, (now) => now.status === "offline")));
    await deleteConversations(scenes.map(({ key }) => key));
    for (const { here } of scenes) {
      expect((await until(here, (now) => now.status === "closed")).closed).toEqual({ reason: "deleted" });
      for await (const message of here.messages())
        expect.fail(`There is nothing to come, and yet: ${message.text}`);
    }

    const resets: (string | null)[] = [];
    for (const { away } of scenes) away.on("reset", ({ epoch }) => resets.push(epoch));
    await Promise.all(scenes.map((scene) => scene.say("new")));
    proxy.down = false;
    for (const { alice, bob, away } of scenes) {
      const { epoch, messages, reads } = await until(away, (now) => now.messages[0]?.text === "new");
      expect([messages.length, resets.filter((reset) => reset === epoch)]).toEqual([1, [epoch]]);
      expect(reads).toEqual({ [alice]: 0, [bob]: 1 });
    }
    for (const followed of await Promise.all(following)) expect(followed).toEqual(["old", "older", "new"]);
  });
});

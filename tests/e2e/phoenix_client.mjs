// The official Phoenix client, driven over pipes: one JSON object a line in, one a line out.
//
// In:  {"call": 1, "do": "join", ...}         Out: {"call": 1, "status": "ok", "response": ...}
//                                             and, of their own accord, {"socket", "channel"?, "event", "payload"}

import { createInterface } from "node:readline";
import { Presence, Socket } from "phoenix";
import WebSocket from "ws";

const NEVER = 2 ** 31 - 1;
const sockets = new Map();
const channels = new Map();

function tell(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

// Serializer V1, as clients of the time before Phoenix 1.4 have it.
const V1 = {
  vsn: "1.0.0",
  encode: (message, done) => done(JSON.stringify(message)),
  decode: (text, done) => done(JSON.parse(text)),
};

const commands = {
  connect({ socket: name, url, params, vsn }, answer) {
    const entry = { held: false, answer };
    entry.socket = new Socket(`${url}/socket`, {
      transport: WebSocket,
      timeout: 20_000,
      params,
      reconnectAfterMs: () => (entry.held ? NEVER : 50),
      rejoinAfterMs: () => 50,
      ...(vsn === V1.vsn ? V1 : {}),
    });
    sockets.set(name, entry);
    entry.socket.onOpen(() => {
      tell({ socket: name, event: "open" });
      entry.answer?.("ok", {});
      entry.answer = null;
    });
    entry.socket.onClose(({ code, reason }) =>
      tell({ socket: name, event: "close", payload: { code, reason } }),
    );
    entry.socket.onError(() => tell({ socket: name, event: "error" }));
    entry.socket.connect();
  },

  // Joins; every join after the first goes on from what has come.
  join({ socket, channel: name, topic, params }, answer) {
    const place = {};
    const channel = sockets.get(socket).socket.channel(topic, () => ({ ...params, ...place }));
    channels.set(name, channel);
    channel.onMessage = (event, payload) => {
      if (event === "message") place.after = payload.seq;
      const joined = event === "phx_reply" && payload.response?.epoch ? payload.response : null;
      if (joined) {
        place.epoch = joined.epoch;
        place.after = joined.messages.at(-1)?.seq ?? (joined.recovered ? place.after : joined.last_seq);
      }
      if (!event.startsWith("chan_reply_")) tell({ socket, channel: name, event, payload });
      return payload;
    };
    const presence = new Presence(channel);
    presence.onSync(() => {
      const here = presence.list((id, { metas }) => [id, metas.length]);
      tell({ socket, channel: name, event: "here", payload: Object.fromEntries(here) });
    });
    settle(channel.join(), answer);
  },

  push({ channel, event, payload }, answer) {
    settle(channels.get(channel).push(event, payload), answer);
  },

  leave({ channel }, answer) {
    settle(channels.get(channel).leave(), answer);
  },

  // Cuts the connection without a goodbye, and stays away.
  drop({ socket }, answer) {
    const entry = sockets.get(socket);
    entry.held = true;
    entry.socket.conn.terminate();
    answer("ok", {});
  },

  // Comes back, perhaps to another process.
  reconnect({ socket, url }, answer) {
    const entry = sockets.get(socket);
    entry.held = false;
    entry.answer = answer;
    if (url) entry.socket.endPoint = `${url}/socket/websocket`;
    entry.socket.disconnect(() => entry.socket.connect());
  },

  close({ socket }, answer) {
    sockets.get(socket).socket.disconnect(() => answer("ok", {}));
  },
};

function settle(push, answer) {
  push
    .receive("ok", (response) => answer("ok", response))
    .receive("error", (response) => answer("error", response))
    .receive("timeout", () => answer("timeout", null));
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    let answered = false; // the client settles a join again whenever it joins again
    commands[command.do](command, (status, response) => {
      if (!answered) tell({ call: command.call, status, response });
      answered = true;
    });
  })
  .on("close", () => process.exit(0));

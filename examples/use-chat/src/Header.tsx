import type { Status } from "@fleetlm/js";

const WORDS: Record<Status, string> = {
  idle: "connecting …",
  connecting: "connecting …",
  online: "online",
  offline: "offline, trying again …",
  refused: "refused",
  closed: "closed",
};

/** Whom one talks to, and whether the server is there. */
export function Header({ agent, status }: { agent: string; status: Status }) {
  return (
    <header className="header">
      <Avatar name={agent} />
      <div>
        <h1>{agent}</h1>
        <p className="status" data-status={status} role="status">
          {WORDS[status]}
        </p>
      </div>
    </header>
  );
}

/** The first letter, in a colour of the name's own. */
export function Avatar({ name }: { name: string }) {
  const hue = [...name].reduce((sum, character) => (sum * 31 + character.charCodeAt(0)) % 360, 7);
  return (
    <span className="avatar" style={{ "--hue": hue } as React.CSSProperties} aria-hidden="true">
      {name.charAt(0).toUpperCase()}
    </span>
  );
}

import { useRef, useState, type KeyboardEvent } from "react";

interface Props {
  agent: string;
  isBusy: boolean;
  send: (text: string) => void;
  stop: () => void;
  typed: (typing: boolean) => void;
}

/** Enter sends, Shift+Enter makes a new line; while an answer comes, the button stops it. */
export function Composer({ agent, isBusy, send, stop, typed }: Props) {
  const [text, setText] = useState("");
  const box = useRef<HTMLTextAreaElement>(null);
  const isEmpty = text.trim() === "";

  const submit = () => {
    if (isBusy || isEmpty) return;
    send(text.trim());
    typed(false);
    setText("");
    box.current?.focus();
  };
  const key = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  };
  return (
    <form className="composer" onSubmit={(event) => (event.preventDefault(), isBusy ? stop() : submit())}>
      <label className="visually-hidden" htmlFor="text">
        Message to {agent}
      </label>
      <textarea
        id="text"
        ref={box}
        rows={1}
        placeholder={`Message ${agent}`}
        value={text}
        autoFocus
        onChange={(event) => (setText(event.target.value), typed(event.target.value !== ""))}
        onKeyDown={key}
      />
      {isBusy ? (
        <button key="stop" className="stop" aria-label="Stop" title="Stop">
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <rect x="7" y="7" width="10" height="10" rx="2" />
          </svg>
        </button>
      ) : (
        <button key="send" disabled={isEmpty} aria-label="Send" title="Send">
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d="M12 19V6m-6 6 6-6 6 6" />
          </svg>
        </button>
      )}
    </form>
  );
}

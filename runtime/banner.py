"""What `manage.py up` prints when everything answers."""

from pathlib import Path

RULE = "─" * 78


def banner(*, host: str, port: int, data: Path, admin_password: str, open_mode: bool) -> str:
    """Where everything is, and two lines to try, as text for a terminal."""
    shown = f"[{host}]" if ":" in host else host
    web = f"http://{shown}:{port}"
    key = "" if open_mode else " -H 'Authorization: Bearer YOUR_API_KEY'"
    messages = f"{web}/api/conversations/alice:echo-bot/messages"
    return f"""
{RULE}
  FleetLM is running. Ctrl-C stops it; your data stays in {data}

  Playground   {web}/
  API docs     {web}/api/docs
  Admin        {web}/admin/   admin / {admin_password}
  Metrics      {web}/metrics
  Sockets      ws://{shown}:{port}/socket/websocket

  Say something to the demo agent, then read its answer:

  curl -X POST '{messages}'{key} \\
    -H 'Content-Type: application/json' -d '{{"sender_id":"alice","text":"hello"}}'

  curl '{messages}'{key}
{RULE}
"""


def engines_banner(*, data: Path, postgres: str, valkey: str) -> str:
    """Where the engines are, and how to use them, as text for a terminal."""
    return f"""
{RULE}
  The engines are running. Ctrl-C stops them; your data stays in {data}

  DATABASE_URL={postgres}
  REDIS_URL={valkey}

  Commands in another terminal find them by themselves: {data / "env"} tells them.
{RULE}
"""

"""Every metric of our own, in one place. Names and units follow the Prometheus conventions."""

from prometheus_client import Counter, Gauge, Histogram

_FAST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

APPENDS = Counter(
    "fleetlm_appends",
    "Appends by outcome: stored, deduplicated, refused (a rule), failed (the database).",
    ["outcome"],
)
APPEND_BATCH_MESSAGES = Histogram(
    "fleetlm_append_batch_messages",
    "Messages of one transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
APPEND_SECONDS = Histogram(
    "fleetlm_append_seconds", "From the arrival of an append to its commit.", buckets=_FAST_SECONDS
)
APPEND_QUEUE_MESSAGES = Gauge(
    "fleetlm_append_queue_messages", "Appends that wait for a transaction.", multiprocess_mode="livesum"
)
PUBLISHES = Counter(
    "fleetlm_publishes", "Frames offered to the channel layer: sent, failed or dropped.", ["outcome"]
)
SESSIONS_LIVE = Gauge(
    "fleetlm_sessions_live", "Conversations that this process follows.", multiprocess_mode="livesum"
)
SESSION_REPAIRS = Counter(
    "fleetlm_session_repairs", "Times that a session fetched from Postgres what no publish had brought it."
)
SOCKETS_OPEN = Gauge("fleetlm_sockets_open", "Open sockets.", multiprocess_mode="livesum")
TOPICS_JOINED = Gauge(
    "fleetlm_topics_joined",
    "Joined topics, by kind: conversation, inbox.",
    ["kind"],
    multiprocess_mode="livesum",
)
FRAMES_SENT = Counter("fleetlm_frames_sent", "Frames handed to sockets.")
SLOW_READERS_CLOSED = Counter("fleetlm_slow_readers_closed", "Sockets closed because they did not keep up.")
INBOX_TICKS = Counter("fleetlm_inbox_ticks", "Ticks pushed to inbox topics.")
DELIVERIES = Counter(
    "fleetlm_deliveries",
    "Calls of agents and subscriptions, by outcome; see `agents.models.Attempt.Outcome`.",
    ["endpoint", "outcome"],
)
DELIVERY_SECONDS = Histogram(
    "fleetlm_delivery_seconds",
    "Duration of calls of agents and subscriptions.",
    ["endpoint"],
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
DELIVERY_LAG_SECONDS = Histogram(
    "fleetlm_delivery_lag_seconds",
    "From when news came for a delivery stream to the call that carries it.",
    buckets=(*_FAST_SECONDS, 30, 60, 600, 3_600),
)
DELIVERY_STREAMS = Gauge(
    "fleetlm_delivery_streams",
    "Delivery streams by state: due, retrying, blocked (an open breaker), parked.",
    ["endpoint", "state"],
    multiprocess_mode="mostrecent",
)
DELIVERY_OLDEST_DUE_SECONDS = Gauge(
    "fleetlm_delivery_oldest_due_seconds",
    "For how long the stream that has waited longest has been due.",
    multiprocess_mode="mostrecent",
)
BREAKERS = Counter("fleetlm_breakers", "Breakers of endpoints that have opened or closed.", ["change"])
DELIVERIES_IN_FLIGHT = Gauge(
    "fleetlm_deliveries_in_flight", "Agent calls under way.", multiprocess_mode="livesum"
)
HTTP_REQUEST_SECONDS = Histogram(
    "fleetlm_http_request_seconds",
    "Duration of HTTP requests; a stream or a long poll lasts until it ends.",
    ["method", "route", "status"],
    buckets=(*_FAST_SECONDS, 30),
)

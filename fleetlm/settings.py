"""Django's settings, derived from the typed `Config`. `settings.FLEETLM` is that object, for every layer to read."""

from typing import Any

from psycopg.conninfo import conninfo_to_dict

from fleetlm.config import PROJECT_ROOT, load_config
from observability.logs import logging_config

FLEETLM = load_config()

BASE_DIR = PROJECT_ROOT
DEBUG = False
IN_DEVELOPMENT = FLEETLM.environment == "development"
SECRET_KEY = FLEETLM.secret_key
ALLOWED_HOSTS = FLEETLM.allowed_hosts
ROOT_URLCONF = "fleetlm.urls"
ASGI_APPLICATION = "fleetlm.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
APPEND_SLASH = False

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "corsheaders",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "observability",
    "conversations",
    "inbox",
    "agents",
    "runtime",
    "fleetlm",
]

# Pages and the cold half of the API. The hot routes have their own short list: see `fleetlm/asgi.py`.
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

_database = conninfo_to_dict(FLEETLM.database_url)
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.pop("dbname", "fleetlm"),
        "USER": _database.pop("user", ""),
        "PASSWORD": _database.pop("password", ""),
        "HOST": _database.pop("host", ""),
        "PORT": _database.pop("port", ""),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        # Threads of the cold routes share these; the hot path has a pool of its own in `runtime/database.py`.
        "OPTIONS": {
            **_database,
            "connect_timeout": 5,
            "pool": {"min_size": 0, "max_size": 8, "timeout": 5, "max_idle": 60, "reconnect_timeout": 5},
        },
    }
}

CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "runtime.channel_layer.PipelinedPubSubChannelLayer",
        "CONFIG": {
            "hosts": [
                {"address": url, "socket_connect_timeout": 2, "socket_keepalive": True}
                for url in FLEETLM.redis_urls
            ],
            "prefix": "fleetlm",
        },
    }
}

CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": FLEETLM.redis_urls[0],
        "KEY_PREFIX": "fleetlm",
        "OPTIONS": {
            "IGNORE_EXCEPTIONS": True,
            "SOCKET_CONNECT_TIMEOUT": 1,
            "SOCKET_TIMEOUT": 1,
        },
    }
}
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = False

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    # `fleetlm.api.base.ApiView` authenticates on the loop; this class only tells the schema how.
    "DEFAULT_AUTHENTICATION_CLASSES": ["fleetlm.api.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_SCHEMA_CLASS": "fleetlm.api.schema.Schema",
    "EXCEPTION_HANDLER": "fleetlm.api.base.render_error",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "FleetLM",
    "DESCRIPTION": "Conversations between people and AI agents: messages, live events, inboxes and agents.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SCHEMA_PATH_PREFIX": "/api",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "POSTPROCESSING_HOOKS": ["fleetlm.api.schema.add_components"],
}

STATIC_URL = "/static/"
# In development static files are served from where they lie; `collectstatic` gathers them for production.
STATIC_ROOT = None if IN_DEVELOPMENT else BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = IN_DEVELOPMENT

CORS_ALLOWED_ORIGINS = FLEETLM.allowed_origins
# In open mode a page from loopback may do what its socket may.
CORS_ALLOWED_ORIGIN_REGEXES = (
    [r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?\Z"] if FLEETLM.auth == "open" else []
)
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = ["authorization", "content-type", "idempotency-key", "last-event-id", "x-request-id"]
CORS_EXPOSE_HEADERS = ["x-request-id", "retry-after"]

SESSION_COOKIE_SECURE = not IN_DEVELOPMENT
CSRF_COOKIE_SECURE = not IN_DEVELOPMENT
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if FLEETLM.trusted_proxy:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CSRF_TRUSTED_ORIGINS = FLEETLM.allowed_origins
DATA_UPLOAD_MAX_MEMORY_SIZE = FLEETLM.request_bytes

LOGGING = logging_config(FLEETLM.log_format, FLEETLM.log_level)
LOGGING_CONFIG = "logging.config.dictConfig"

"""Every setting of the platform, grouped by subsystem; `.env.example` describes them one by one."""

from urllib.parse import unquote

from config.env import IS_DEVELOPMENT, ROOT, env, secret

BASE_DIR = ROOT
DEBUG = IS_DEVELOPMENT

# --- Web ---------------------------------------------------------------------------------------------------------------
SECRET_KEY = secret(
    "SKILLGATE_SECRET_KEY", development="development-only-secret-key-that-is-long-enough-for-checks-0123456789"
)
ALLOWED_HOSTS = env.list("SKILLGATE_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("SKILLGATE_CSRF_TRUSTED_ORIGINS", default=[])
BASE_URL = env.str("SKILLGATE_BASE_URL", default="http://127.0.0.1:8000")
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
MAX_BODY_BYTES = env.int("SKILLGATE_MAX_BODY_BYTES", default=4 * 1024 * 1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
APPEND_SLASH = False
USE_X_FORWARDED_HOST = False
TRUSTED_PROXIES = env.list("SKILLGATE_TRUSTED_PROXIES", default=[])

INSTALLED_APPS = [
    "daphne",
    "channels",
    "unfold.apps.BasicAppConfig",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "axes",
    "csp",
    "django_structlog",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "config.apps.ConfigConfig",
    "console.apps.ConsoleConfig",
    "tenants.apps.TenantsConfig",
    "usage.apps.UsageConfig",
    "skills.apps.SkillsConfig",
]
MIDDLEWARE = [
    "kit.middleware.request_ids",
    "django.middleware.security.SecurityMiddleware",
    "console.policies.ContentPolicies",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
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
STATIC_URL = "/static/"
STATIC_ROOT = ROOT / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

# --- Security ----------------------------------------------------------------------------------------------------------
_BEHIND_TLS = env.bool("SKILLGATE_BEHIND_TLS", default=not DEBUG)
SECURE_SSL_REDIRECT = _BEHIND_TLS
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = 31_536_000 if _BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _BEHIND_TLS
SECURE_HSTS_PRELOAD = _BEHIND_TLS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _BEHIND_TLS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
AUTH_USER_MODEL = "tenants.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
KEY_PEPPERS: dict[str, str] = {
    # Pepper id → pepper. The first is used for new keys; the second, if any, is still accepted and re-hashed on use.
    "1": secret("SKILLGATE_KEY_PEPPER", development="development-only-pepper"),
    **({"0": env.str("SKILLGATE_KEY_PEPPER_PREVIOUS")} if env.str("SKILLGATE_KEY_PEPPER_PREVIOUS", default="") else {}),
}

# --- Console: the two admin sites, sign-in, mail ------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
LOGIN_URL = "admin:login"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_NAME = "__Host-skillgate" if _BEHIND_TLS else "skillgate"  # __Host- demands Secure, which demands TLS
CSRF_COOKIE_NAME = "__Host-skillgate-csrf" if _BEHIND_TLS else "skillgate-csrf"
CSRF_COOKIE_HTTPONLY = True
SECURE_REFERRER_POLICY = "same-origin"
PASSWORD_RESET_TIMEOUT = 3600
OPERATORS_NEED_TOTP = env.bool("SKILLGATE_OPERATORS_NEED_TOTP", default=not DEBUG)
OTP_TOTP_ISSUER = "Skillgate"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]  # a name alone would let a stranger lock its owner out
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "tenants.api.callers.address"
AXES_LOCKOUT_CALLABLE = "console.signin.locked_out"
AXES_DISABLE_ACCESS_LOG = True  # the audit log has it
AXES_VERBOSE = False
AXES_ENABLE_ADMIN = False
FIELD_KEYS = (
    # Stored secrets are sealed under the first; every one of them opens.
    env.list("SKILLGATE_FIELD_KEYS", default=["development-only-field-key"] if IS_DEVELOPMENT else [])
)
# Statements and seals are signed with the first; all of them, and the retired public ones, are known.
SEAL_KEYS = env.list("SKILLGATE_SEAL_KEYS", default=["development-only-seal-key"] if IS_DEVELOPMENT else [])
SEAL_RETIRED_KEYS = env.list("SKILLGATE_SEAL_RETIRED_KEYS", default=[])
CONSOLE_ROLE = env.str("SKILLGATE_CONSOLE_ROLE", default="skillgate_tenant")
EMAIL_CONFIG = env.email_url("SKILLGATE_EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env.str("SKILLGATE_EMAIL_FROM", default="Skillgate <noreply@localhost>")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
_UNFOLD = {
    "SITE_TITLE": "Skillgate",
    "SITE_SYMBOL": "key_vertical",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": ["console.appearance.style"],
    "SCRIPTS": ["console.appearance.script"],
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "console.appearance.icon"}],
    "BORDER_RADIUS": "6px",
    "COLORS": "console.appearance.colors",
    "LOGIN": {"form": "console.signin.SignInForm"},
    "ACCOUNT": {"navigation": "console.navigation.account"},
}
UNFOLD = {
    **_UNFOLD,
    "SITE_HEADER": "console.navigation.header",
    "SIDEBAR": {"navigation": "console.navigation.of_tenant"},
}
UNFOLD_OPS = {
    **_UNFOLD,
    "SITE_HEADER": "Operations",
    "SHOW_HISTORY": False,
    "SIDEBAR": {"navigation": "console.navigation.of_operators"},
}

# --- Postgres ----------------------------------------------------------------------------------------------------------
DATABASES = {"default": env.db("DATABASE_URL", default="postgres://postgres@127.0.0.1:5432/skillgate")}
DATABASES["default"]["HOST"] = unquote(DATABASES["default"]["HOST"])  # a Unix socket's folder comes percent-encoded
DATABASES["default"]["CONN_MAX_AGE"] = 0
POOL_MAX_CONNECTIONS = env.int("SKILLGATE_POOL_MAX_CONNECTIONS", default=12)
POOL_TIMEOUT_SECONDS = env.float("SKILLGATE_POOL_TIMEOUT_SECONDS", default=2.0)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis -------------------------------------------------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")
LIMITS_TIMEOUT_SECONDS = env.float("SKILLGATE_LIMITS_TIMEOUT_SECONDS", default=0.1)
PROCESS_COUNT = env.int("SKILLGATE_PROCESS_COUNT", default=1)
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_timeout": LIMITS_TIMEOUT_SECONDS, "socket_connect_timeout": LIMITS_TIMEOUT_SECONDS},
    }
}

# --- Celery ------------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="")

# --- Analyses and webhooks ---------------------------------------------------------------------------------------------
UPLOADS_DIR = env.str("SKILLGATE_UPLOADS_DIR", default=str(ROOT / ".local" / "uploads"))
# Webhook secrets are derived from it; empty: from SECRET_KEY.
WEBHOOK_KEY = env.str("SKILLGATE_WEBHOOK_KEY", default="")
WEBHOOK_ALLOWED_NETWORKS = env.list("SKILLGATE_WEBHOOK_ALLOWED_NETWORKS", default=[])

# --- Claude ------------------------------------------------------------------------------------------------------------
ANTHROPIC_BASE_URL = env.str("ANTHROPIC_BASE_URL", default="https://api.anthropic.com")
EMULATOR_URL = env.str("SKILLGATE_EMULATOR_URL", default="")
_IS_EMULATED = bool(EMULATOR_URL) and ANTHROPIC_BASE_URL == EMULATOR_URL
ANTHROPIC_API_KEY = env.str("ANTHROPIC_API_KEY", default="") or ("emulator" if _IS_EMULATED else "")

CLAUDE_CONNECT_SECONDS = env.float("SKILLGATE_CLAUDE_CONNECT_SECONDS", default=5.0)
CLAUDE_SILENCE_SECONDS = env.float("SKILLGATE_CLAUDE_SILENCE_SECONDS", default=60.0)
CLAUDE_TOTAL_SECONDS = env.float("SKILLGATE_CLAUDE_TOTAL_SECONDS", default=600.0)
CLAUDE_FIRST_TOKEN_SECONDS = env.float("SKILLGATE_CLAUDE_FIRST_TOKEN_SECONDS", default=120.0)
CLAUDE_ATTEMPTS = env.int("SKILLGATE_CLAUDE_ATTEMPTS", default=5)
CLAUDE_RETRY_SECONDS = env.float("SKILLGATE_CLAUDE_RETRY_SECONDS", default=0.5)
CLAUDE_LONGEST_WAIT_SECONDS = env.float("SKILLGATE_CLAUDE_LONGEST_WAIT_SECONDS", default=30.0)
CLAUDE_CALLS = env.int("SKILLGATE_CLAUDE_CALLS", default=4000)
CLAUDE_QUEUE_SECONDS = env.float("SKILLGATE_CLAUDE_QUEUE_SECONDS", default=20.0)
CLAUDE_BREAKER_FAILURES = env.int("SKILLGATE_CLAUDE_BREAKER_FAILURES", default=10)
CLAUDE_BREAKER_SECONDS = env.float("SKILLGATE_CLAUDE_BREAKER_SECONDS", default=5.0)
# What happens to calls of models without a price: refuse, or flag (booked at the price file's bound and listed).
UNPRICED_MODELS = env.str("SKILLGATE_UNPRICED_MODELS", default="refuse")
COUNT_MARGIN_PERCENT = env.float(
    # The provider calls its own token count an estimate; the emulator's is exact.
    "SKILLGATE_COUNT_MARGIN_PERCENT",
    default=2.0 if ANTHROPIC_BASE_URL.startswith("https://api.anthropic.com") else 0.0,
)
SKILL_MODELS = {
    # What `model: fast` and the like in a skill stand for.
    "fast": env.str("SKILLGATE_MODEL_FAST", default="claude-haiku-4-5"),
    "balanced": env.str("SKILLGATE_MODEL_BALANCED", default="claude-sonnet-5"),
    "deep": env.str("SKILLGATE_MODEL_DEEP", default="claude-opus-5"),
}

# --- Finance -----------------------------------------------------------------------------------------------------------
CLOSING_GRACE_DAYS = env.int("SKILLGATE_CLOSING_GRACE_DAYS", default=3)
ANTHROPIC_ADMIN_KEY = env.str("ANTHROPIC_ADMIN_KEY", default="") or ("emulator-admin" if _IS_EMULATED else "")
# Ids, or names in files, of the keys that this platform calls Claude with; empty: every key of the organization is ours.
ANTHROPIC_KEY_NAMES = env.list("ANTHROPIC_KEY_NAMES", default=[])
RECONCILIATION_TOLERANCE_PERCENT = env.float("SKILLGATE_RECONCILIATION_TOLERANCE_PERCENT", default=1.0)
ALERT_WEBHOOK_URL = env.str("SKILLGATE_ALERT_WEBHOOK_URL", default="")

# --- Time and words ----------------------------------------------------------------------------------------------------
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = "config.formats"

# --- API ---------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "kit.rest.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "Skillgate",
    "DESCRIPTION": "Claude as skills: named, versioned, typed capabilities behind one API.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SECURITY": [{"bearer": []}, {"apiKey": []}],
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "sg_live_…"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    },
}

# --- Logs and metrics --------------------------------------------------------------------------------------------------
LOG_REQUESTS = env.bool("SKILLGATE_LOG_REQUESTS", default=True)
LOG_PROMPTS_OF = frozenset(env.list("SKILLGATE_LOG_PROMPTS_OF", default=[]))
METRICS_TOKEN = env.str("SKILLGATE_METRICS_TOKEN", default="")
WORKER_METRICS_ADDRESS = env.str("SKILLGATE_WORKER_METRICS_ADDRESS", default="")
DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_CELERY_TASK_START_LOG_LEVEL = 10  # the line of a task's end says all of it again
# Traces: nothing of it is loaded without an endpoint (http://collector:4318).
OTEL_EXPORTER_OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", default="")
TRACE_RATIO = env.float("SKILLGATE_TRACE_RATIO", default=0.1)
TRACE_PROMPTS = env.bool("SKILLGATE_TRACE_PROMPTS", default=False)
_LOG_FORMAT = env.str("SKILLGATE_LOG_FORMAT", default="pretty" if DEBUG else "json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "kit.logs.formatter", "is_pretty": _LOG_FORMAT == "pretty"}},
    "handlers": {"stderr": {"class": "kit.logs.Stderr", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("SKILLGATE_LOG_LEVEL", default="WARNING")},
    "loggers": {
        "skillgate": {"level": "INFO"},
        # Refusals are answers, not incidents: what went wrong is in the response and in the counts.
        "django.request": {"level": "CRITICAL"},
        "django": {"handlers": [], "propagate": True},
    },
}

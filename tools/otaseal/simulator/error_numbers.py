"""The error numbers that a device reports, by their names in the sources of the core and of BearSSL."""

from __future__ import annotations

from enum import IntEnum

RECEIVED_ALERT = 256
"""BearSSL's number for a fatal alert that the server sent: 256 and the alert's own."""
OUT_OF_MEMORY = -1000
"""What `getLastSSLError` says when the buffers do not fit in the heap."""


class UpdateError(IntEnum):
    """The updater's (cores/esp8266/Updater.h); 13 since core 3.0, 14 since 3.1, 15 and 16 after 3.1.2."""

    OK = 0
    WRITE = 1
    ERASE = 2
    READ = 3
    SPACE = 4
    SIZE = 5
    STREAM = 6
    MD5 = 7
    FLASH_CONFIG = 8
    NEW_FLASH_CONFIG = 9
    MAGIC_BYTE = 10
    BOOTSTRAP = 11
    SIGN = 12
    NO_DATA = 13
    OOM = 14
    RUNNING_ALREADY = 15
    UNKNOWN_COMMAND = 16


class HttpError(IntEnum):
    """The HTTP client's (-1 to -11) and the HTTP updater's (-100 to -108)."""

    CONNECTION_FAILED = -1
    SEND_HEADER_FAILED = -2
    NOT_CONNECTED = -4
    CONNECTION_LOST = -5
    NO_HTTP_SERVER = -7
    ENCODING = -9
    READ_TIMEOUT = -11
    TOO_LESS_SPACE = -100
    SERVER_NOT_REPORT_SIZE = -101
    SERVER_FILE_NOT_FOUND = -102
    SERVER_FORBIDDEN = -103
    SERVER_WRONG_HTTP_CODE = -104
    SERVER_FAULTY_MD5 = -105
    BIN_VERIFY_HEADER_FAILED = -106
    BIN_FOR_WRONG_FLASH = -107
    SERVER_UNAUTHORIZED = -108


class TlsError(IntEnum):
    """BearSSL's (bearssl_ssl.h, bearssl_x509.h), those that a server or its certificates can cause."""

    OK = 0
    BAD_PARAM = 1
    UNSUPPORTED_VERSION = 3
    BAD_VERSION = 4
    BAD_LENGTH = 5
    TOO_LARGE = 6
    BAD_MAC = 7
    UNKNOWN_TYPE = 9
    UNEXPECTED = 10
    BAD_CCS = 12
    BAD_ALERT = 13
    BAD_HANDSHAKE = 14
    OVERSIZED_ID = 15
    BAD_CIPHER_SUITE = 16
    BAD_COMPRESSION = 17
    BAD_FRAGLEN = 18
    BAD_SECRENEG = 19
    EXTRA_EXTENSION = 20
    BAD_SNI = 21
    BAD_HELLO_DONE = 22
    LIMIT_EXCEEDED = 23
    BAD_FINISHED = 24
    RESUME_MISMATCH = 25
    INVALID_ALGORITHM = 26
    BAD_SIGNATURE = 27
    WRONG_KEY_USAGE = 28
    X509_INVALID_VALUE = 33
    X509_TRUNCATED = 34
    X509_EMPTY_CHAIN = 35
    X509_INNER_TRUNC = 36
    X509_BAD_TAG_CLASS = 37
    X509_BAD_TAG_VALUE = 38
    X509_INDEFINITE_LENGTH = 39
    X509_EXTRA_ELEMENT = 40
    X509_UNEXPECTED = 41
    X509_NOT_CONSTRUCTED = 42
    X509_NOT_PRIMITIVE = 43
    X509_PARTIAL_BYTE = 44
    X509_BAD_BOOLEAN = 45
    X509_OVERFLOW = 46
    X509_BAD_DN = 47
    X509_BAD_TIME = 48
    X509_UNSUPPORTED = 49
    X509_LIMIT_EXCEEDED = 50
    X509_WRONG_KEY_TYPE = 51
    X509_BAD_SIGNATURE = 52
    X509_EXPIRED = 54
    X509_DN_MISMATCH = 55
    X509_BAD_SERVER_NAME = 56
    X509_CRITICAL_EXTENSION = 57
    X509_NOT_CA = 58
    X509_FORBIDDEN_KEY_USAGE = 59
    X509_WEAK_PUBLIC_KEY = 60
    X509_NOT_TRUSTED = 62


_ALERTS = {
    10: "unexpected message",
    40: "no cipher suite in common",
    42: "bad certificate",
    44: "certificate revoked",
    45: "certificate expired",
    46: "certificate unknown",
    47: "illegal parameter",
    48: "unknown authority",
    49: "access denied",
    70: "no TLS 1.2",
    71: "insufficient security",
    112: "unknown name",
    116: "certificate required",
}


def describe_alert(error: int) -> str:
    """Return the alert in a BearSSL number from RECEIVED_ALERT on, in words."""
    alert = error - RECEIVED_ALERT
    return f"the server sent alert {alert}, {_ALERTS.get(alert, 'of its own')}"

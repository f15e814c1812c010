"""Whether the server in this container answers: exit code 0, else 1. Standard library only.

It asks the operators' side on the loopback address, where no certificate has to be valid: who could answer there
instead of the server is in the container already.
"""

import http.client
import ssl
import sys

PORT = 8444
SECONDS = 5

context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
try:
    connection = http.client.HTTPSConnection("127.0.0.1", PORT, timeout=SECONDS, context=context)
    connection.request("GET", "/healthz")
    sys.exit(0 if connection.getresponse().status == 200 else 1)
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit(1)

#!/usr/bin/env python3
"""https_get.py URL CA [CERT KEY] - the status of a GET, "refused" when TLS or the peer says no."""
import http.client
import ssl
import sys
import urllib.parse

url = urllib.parse.urlparse(sys.argv[1])
context = ssl.create_default_context(cafile=sys.argv[2])
if len(sys.argv) > 3:
    context.load_cert_chain(sys.argv[3], sys.argv[4])
try:
    connection = http.client.HTTPSConnection("localhost", url.port, timeout=30, context=context)
    connection.request("GET", url.path)
    print(connection.getresponse().status)
except (ssl.SSLError, ConnectionError, http.client.HTTPException):
    print("refused")

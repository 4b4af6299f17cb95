"""Receivers of alerts that are not ours: an HTTP server of the standard library, which verifies signatures with
hmac of the standard library, and aiosmtpd with STARTTLS and a password.

Everything that comes is one JSON line in the file `got`. What the HTTP server answers stands in the file `answer`.
"""

import email
import email.policy
import hashlib
import hmac
import http.server
import json
import pathlib
import ssl
import subprocess
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

SECRET = b"0123456789abcdef0123456789abcdef"
HERE = pathlib.Path(sys.argv[1])
LOCK = threading.Lock()


def got(line):
    with LOCK, (HERE / "got").open("a") as file:
        file.write(json.dumps(line) + "\n")


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        sent = self.headers["sandan-timestamp"]
        expected = "v1=" + hmac.new(SECRET, sent.encode() + b"." + body, hashlib.sha256).hexdigest()
        is_ours = hmac.compare_digest(expected, self.headers["sandan-signature"])
        answer = int((HERE / "answer").read_text())
        got({"way": "hook", "path": self.path, "signed": is_ours, "answered": answer, "message": json.loads(body)})
        self.send_response(answer)
        if answer == 302:
            self.send_header("location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Letters:
    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        plain, html = (letter.get_body((kind,)).get_content() for kind in ("plain", "html"))
        line = {"way": "mail", "to": envelope.rcpt_tos, "from": envelope.mail_from, "subject": letter["subject"]}
        got(line | {"plain": plain, "html": html, "tls": session.ssl is not None, "signed_in": session.authenticated})
        return "250 taken"


def password(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"sandan", b"the password"))


certificate, key = HERE / "smtp.crt", HERE / "smtp.key"
subprocess.run(
    ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    + ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate],
    check=True,
    capture_output=True,
)
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(certificate, key)
smtp = Controller(
    Letters(),
    hostname="127.0.0.1",
    port=int(sys.argv[2]),
    tls_context=tls,
    require_starttls=True,
    authenticator=password,
    auth_required=True,
)
smtp.start()
(HERE / "answer").write_text("204")
hooks = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
threading.Thread(target=hooks.serve_forever, daemon=True).start()
ready = {"ready": True, "http": f"127.0.0.1:{hooks.server_port}", "smtp": f"127.0.0.1:{sys.argv[2]}"}
print(json.dumps(ready), flush=True)
sys.stdin.read()

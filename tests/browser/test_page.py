#!/usr/bin/python3
"""test_page BUILD [SCREENSHOT] - the page in a headless Chromium, driven over WebDriver with nothing but the standard library.

It starts a daemon, sends events through it, and looks at what a person would: that the numbers move, the lookup and the paging
work, by keyboard too, what looks like a script stays text, nothing is loaded from elsewhere and the console is quiet. Ends with 77
(skipped) when there is no chromedriver.
"""
import base64, json, os, shutil, socket, struct, subprocess, sys, tempfile, threading, time, urllib.request

build, shot = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
LIMIT_S = 60
EVIL = "http://evil.example/<img/src=x/onerror=document.title='hacked'>"

if not shutil.which("chromedriver") or not shutil.which("chromium"):
    print("skipped: no chromium and chromedriver; tools/install-deps browser installs them")
    sys.exit(77)


def until(what, condition):
    end = time.monotonic() + LIMIT_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            sys.exit(f"{what}: it does not come")
        threading.Event().wait(0.05)


def call(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=LIMIT_S) as reply:
        return json.load(reply)["value"]


def sp_socket(url, protocol, peer):
    """The SP handshake: our number, the peer's comes back."""
    host, port = url.removeprefix("tcp://").split(":")
    s = socket.create_connection((host, int(port)))
    s.sendall(b"\0SP\0" + struct.pack(">HH", protocol, 0))
    got = s.recv(8, socket.MSG_WAITALL)
    assert got == b"\0SP\0" + struct.pack(">HH", peer, 0), got
    return s


def sp_send(s, body, head=b""):
    s.sendall(struct.pack(">Q", len(head) + len(body)) + head + body)


def sp_receive(s):
    return s.recv(struct.unpack(">Q", s.recv(8, socket.MSG_WAITALL))[0], socket.MSG_WAITALL)


def control(urls, request):
    with sp_socket(urls["control"], 48, 49) as s:
        sp_send(s, json.dumps(request).encode(), b"\x80\0\0\1")
        reply = json.loads(sp_receive(s)[4:])
    assert reply["ok"], reply


def feed(urls, stop):
    """A worker that takes everything, and a producer at some hundred events a second."""
    worker, producer = sp_socket(urls["outbox"], 81, 80), sp_socket(urls["intake"], 80, 81)


    def take():
        while worker.recv(65536):
            pass
    threading.Thread(target=take, daemon=True).start()
    while not stop.wait(0.01):
        for kind in ("created", "updated", "issued"):
            sp_send(producer, json.dumps({"predicate": f"UN.CEFACT.TRADE.CO.{kind}", "n": "x" * 100}).encode())


class Page:
    def __init__(self, driver, dark, width):
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--window-size={width},1100",
                            *(["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else [])]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.url = f"{driver}/session/" + call("POST", f"{driver}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def go(self, url):
        call("POST", f"{self.url}/url", {"url": url})

    def js(self, text):
        return call("POST", f"{self.url}/execute/sync", {"script": text, "args": []})

    def text(self, id):
        return self.js(f"return document.getElementById('{id}').textContent")

    def type(self, text):
        keys = [{"type": kind, "value": c} for c in text for kind in ("keyDown", "keyUp")]
        call("POST", f"{self.url}/actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def errors(self):
        return [e for e in call("POST", f"{self.url}/se/log", {"type": "browser"}) if e["level"] == "SEVERE"]

    def picture(self):
        return base64.b64decode(call("GET", f"{self.url}/screenshot"))

    def close(self):
        call("DELETE", self.url)


def check_page(page, urls):
    page.go(urls["http"] + "/")
    until("ready", lambda: page.text("ready") == "ready")
    until("rates", lambda: page.js("return seen.length > 2 && [...document.querySelectorAll('#rates .number')].slice(0, 2).every(e => parseFloat(e.textContent) > 0)"))
    until("stages", lambda: "µs" in page.text("stages") or "ms" in page.text("stages"))
    assert "intake" in page.text("peers") and "UN.CEFACT" in page.text("top")
    assert page.js("return document.querySelectorAll('meter').length") == 4

    # paging, and what looks like markup stays text
    until("first page", lambda: page.text("subs-note") == "Page 1, 50 rows")
    page.js("document.getElementById('next').click()")
    until("second page", lambda: page.text("subs-note").startswith("Page 2"))
    page.js("document.getElementById('back').click()")
    until("first page again", lambda: page.text("subs-note") == "Page 1, 50 rows")
    page.js(f"document.getElementById('callback').value = {json.dumps(EVIL)}; document.getElementById('subs-form').requestSubmit()")
    until("found", lambda: EVIL in page.text("subs"))
    assert page.js("return document.title") == "spreader"
    assert page.js("return document.querySelectorAll('main img').length") == 0

    # by keyboard alone
    page.js("document.getElementById('predicate').focus()")
    page.type("UN.CEFACT.TRADE.CO.created\ue007")
    until("looked up", lambda: "callbacks" in page.text("lookup") and "hook" in page.text("lookup"))

    # nothing from elsewhere, everything with a name, no sideways scrolling, a quiet console
    assert page.js("return performance.getEntriesByType('resource').every(e => e.name.startsWith(location.origin))")
    nameless = "return [...document.querySelectorAll('input, button, meter')].filter(e => !(e.labels && e.labels.length || e.textContent || e.ariaLabel)).length"
    assert page.js(nameless) == 0
    assert page.js("return document.documentElement.scrollWidth <= window.innerWidth"), "it scrolls sideways"
    assert page.errors() == [], page.errors()


def check_token(page, urls):
    page.go(urls["http"] + "/")
    until("asks for the token", lambda: page.js("return !document.getElementById('ask').hidden"))
    page.js("document.getElementById('token').focus()")
    page.type("s3cret\ue007")
    until("ready with the token", lambda: page.text("ready") == "ready")
    page.js("sessionStorage.clear()")


def start(folder, name, *flags):
    ready = f"{folder}/{name}.json"
    daemon = subprocess.Popen([f"{build}/spreaderd", "--store", ":memory:", "--ready-file", ready, "--log-level", "warn", "--http-listen", "127.0.0.1:0",
                               *[word for kind in ("intake", "outbox", "control") for word in (f"--{kind}-listen", "tcp://127.0.0.1:0")], *flags])
    until("the daemon", lambda: os.path.exists(ready))
    return daemon, {kind: url[0] for kind, url in json.load(open(ready))["listening"].items() if url}


def main():
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        open(f"{folder}/token", "w").write("s3cret\n")
        started = [subprocess.Popen(["chromedriver", f"--port={port}", "--log-level=OFF"], stdout=subprocess.DEVNULL)]
        try:
            daemon, urls = start(folder, "open")
            started.append(daemon)
            guarded, guarded_urls = start(folder, "guarded", "--admin-token-file", f"{folder}/token")
            started.append(guarded)
            hosts = ["ports", "customs", "banks", "carriers"]
            rows = [{"pattern": p, "callback": f"https://{h}.example/hook/{i}"} for p, n in (("UN.CEFACT.*", 40), ("UN.CEFACT.TRADE.CO.created", 25), ("UN.CEFACT.TRADE.*", 9))
                    for i in range(n) for h in hosts[:1 + i % 4]]
            control(urls, {"op": "import", "subscriptions": rows + [{"pattern": "X", "callback": EVIL}]})
            threading.Thread(target=feed, args=(urls, stop), daemon=True).start()
            driver = f"http://127.0.0.1:{port}"

            def is_up():
                try:
                    return call("GET", f"{driver}/status")["ready"]
                except OSError:
                    return False
            until("chromedriver", is_up)
            for dark, width in ((False, 1000), (True, 500)):
                page = Page(driver, dark, width)
                check_page(page, urls)
                if shot:
                    page.js("document.getElementById('callback').value = ''; document.getElementById('subs-form').requestSubmit(); document.getElementById('lookup').replaceChildren(); document.activeElement.blur(); window.scrollTo(0, 0)")
                    until("a long chart", lambda: page.js("return seen.length > 25"))
                    open(f"{shot}-{'dark' if dark else 'light'}.png", "wb").write(page.picture())
                if dark:
                    assert page.js("return getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 22)", "it is not dark"
                check_token(page, guarded_urls)
                page.close()
            print("the page works: wide and light, narrow and dark")
        finally:
            stop.set()
            for process in reversed(started):
                process.terminate()
                process.wait()


main()

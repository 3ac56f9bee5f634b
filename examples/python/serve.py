"""A service in Python behind its agent: the whole of what a server has to speak is here.

The agent calls it as an old server of the legacy protocol (docs/legacy.md): GET with JSON comes in, JSON goes out, and PING
asks whether it is there. Publish it in the agent's configuration (agent.yaml beside this file), then run `python3 serve.py`.
"""

import json
import socketserver
import sys


def greet(name):
    return f"Hello, {name}!"


def total(*numbers):
    return sum(numbers)


METHODS = {"greet": greet, "sum": total}


def answer(request):
    """The answer to one call: `ec` 200 for a result, 502 for an unknown method, 503 for a method that failed."""
    params = request["params"]
    method = METHODS.get(params["m"])
    if method is None:
        return {"ec": 502, "em": f"no method {params['m']}", "result": None}
    try:
        return {"ec": 200, "em": "", "result": method(*(params.get("args") or []))}
    except Exception as error:
        return {"ec": 503, "em": f"{type(error).__name__}: {error}", "result": None}


class Connection(socketserver.StreamRequestHandler):
    """One connection of the agent, which does one request at a time on each and opens more when it needs them."""

    def handle(self):
        while (words := self.read_command()) is not None:
            command = words[0].upper()
            if command == b"GET" and len(words) == 2:
                reply = json.dumps(answer(json.loads(words[1]))).encode()
                self.wfile.write(b"$%d\r\n%s\r\n" % (len(reply), reply))
            elif command == b"PING":
                self.wfile.write(b"+PONG\r\n")
            else:
                self.wfile.write(b"-ERR unknown command\r\n")

    def read_command(self):
        """`*2` and that many words, each as `$length` and its bytes; None at the connection's end."""
        line = self.rfile.readline()
        if not line.startswith(b"*"):
            return None
        words = []
        for _ in range(int(line[1:])):
            length = int(self.rfile.readline()[1:])
            words.append(self.rfile.read(length + 2)[:-2])
        return words


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 7001), Connection) as server:
    print(f"serving on 127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()

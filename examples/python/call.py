"""Calls through the agent with nothing but redis-py: one call, and a parallel fan-out. `python3 call.py [port] [service]`."""

import json
import sys

import redis

port = int(sys.argv[1]) if len(sys.argv) > 1 else 15100
service = sys.argv[2] if len(sys.argv) > 2 else "/service/python-example"
agent = redis.Redis(port=port)


def request(method, *args):
    return json.dumps({"action": service, "params": {"m": method, "args": args}})


def result(reply):
    answer = json.loads(reply)
    if answer["ec"] not in (0, 200):
        raise RuntimeError(f"{answer['ec']}: {answer['em']}")
    return answer["result"]


print(result(agent.get(request("greet", "Ada"))))

# A pipeline is a fan-out: the agent runs its calls at the same time and answers in their order.
batch = agent.pipeline(transaction=False)
for i in range(10):
    batch.get(request("sum", i, 1))
print([result(reply) for reply in batch.execute()])

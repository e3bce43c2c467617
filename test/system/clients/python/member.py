"""What members of a group print and are given (see ../member.ts)."""
import json
import sys
import threading

bootstrap, group, topic = sys.argv[1:4]
options = json.loads(sys.argv[4])
stopping = threading.Event()


def show(event, **fields):
    print(json.dumps({'event': event, **fields}), flush=True)


def record(partition, offset, value):
    show('record', partition=partition, offset=offset, value=value.decode())


def _wait_for_end():
    sys.stdin.read()
    stopping.set()


threading.Thread(target=_wait_for_end, daemon=True).start()

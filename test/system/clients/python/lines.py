"""Driver side of the test protocol (see ../scenario.ts): one JSON request a line on standard
input, one JSON answer a line on standard output."""
import base64
import json
import sys
import traceback


def to_bytes(text):
    return None if text is None else base64.b64decode(text)


def to_text(data):
    return None if data is None else base64.b64encode(data).decode()


def headers_of(record):
    return [(name, to_bytes(value)) for name, value in record['headers']]


def record_of(offset, timestamp, key, value, headers):
    return {
        'offset': offset,
        'timestamp': timestamp,
        'key': to_text(key),
        'value': to_text(value),
        'headers': [[name, to_text(data)] for name, data in headers or []],
    }


def serve(operations):
    """Answers requests with the function that `operations` holds for each op."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = operations[request['op']](request)
        except Exception as error:
            traceback.print_exc()
            answer = {'error': f'{type(error).__name__}: {error}'}
        print(json.dumps(answer), flush=True)

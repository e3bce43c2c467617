"""Produces without end through librdkafka while its broker comes and goes: crash_load.py BOOTSTRAP
PARTITIONS. Ends when standard input does, after all that was sent has been answered.

Prints `TOPIC PARTITION NUMBER OFFSET` for each acknowledged record, `failed TOPIC ...` for each
that was given up, and `end` as its last line. The value of a record starts with its number, which
counts from 0 in each partition."""
import sys
import threading

from confluent_kafka import Producer

MOST_OUTSTANDING = 400
bootstrap = sys.argv[1]
partitions = int(sys.argv[2])

common = {
    'bootstrap.servers': bootstrap,
    'message.timeout.ms': 120_000,
    'reconnect.backoff.ms': 20,
    'reconnect.backoff.max.ms': 200,
    'retry.backoff.ms': 20,
    'retry.backoff.max.ms': 200,
    'linger.ms': 2,
}
# Without idempotence a retry may overtake, hence one request in flight.
loads = {
    'crash-idempotent': {'enable.idempotence': True},
    'crash-idempotent-zstd': {'enable.idempotence': True, 'compression.type': 'zstd'},
    'crash-acks-1': {'acks': 1, 'max.in.flight': 1, 'retries': 1_000_000},
    'crash-acks-all-lz4': {
        'acks': -1, 'max.in.flight': 1, 'retries': 1_000_000, 'compression.type': 'lz4'},
}


class Load:
    def __init__(self, topic, config):
        self.topic = topic
        self.producer = Producer(common | config)
        self.next = [0] * partitions
        self.outstanding = 0

    def fill(self):
        while self.outstanding < MOST_OUTSTANDING:
            partition = self.outstanding % partitions
            number = self.next[partition]
            self.next[partition] += 1
            self.outstanding += 1
            padding = 'x' * (number * 7919 % 700)
            self.producer.produce(
                self.topic, f'{number} {padding}', partition=partition,
                on_delivery=lambda error, message, number=number: self.answered(
                    error, message, number))

    def answered(self, error, message, number):
        self.outstanding -= 1
        where = f'{self.topic} {message.partition()} {number}'
        if error is not None:
            print(f'failed {where} {error}')
        else:
            print(f'{where} {message.offset()}')


stopping = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stopping.set()), daemon=True).start()
running = [Load(topic, config) for topic, config in loads.items()]
while not stopping.is_set():
    for load in running:
        load.fill()
        load.producer.poll(0.002)
    sys.stdout.flush()
for load in running:
    load.producer.flush(60)
print('end', flush=True)

"""Drives confluent-kafka, hence librdkafka: confluent.py BOOTSTRAP."""
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

import lines

PATIENCE = 30.0
bootstrap = sys.argv[1]


def produce(request):
    config = {
        'bootstrap.servers': bootstrap,
        'compression.type': request['codec'],
        'acks': request['acks'],
        'message.max.bytes': 1 << 20,
        'linger.ms': 5,
    }
    if 'idempotent' in request:
        config['enable.idempotence'] = request['idempotent']
    producer = Producer(config)
    count = len(request['records'])
    offsets = [None] * count
    errors = []

    def delivered(index):
        def report(error, message):
            if error is not None:
                errors.append(str(error))
            else:
                offsets[index] = message.offset()
        return report

    for i, record in enumerate(request['records']):
        producer.produce(
            request['topic'],
            partition=request['partition'],
            key=lines.to_bytes(record['key']),
            value=lines.to_bytes(record['value']),
            headers=lines.headers_of(record),
            timestamp=record['timestamp'],
            on_delivery=delivered(i),
        )
    left = producer.flush(PATIENCE)
    if errors or left:
        raise RuntimeError(f'{left} not delivered; {errors}')
    return {'offsets': offsets}


def consumer():
    return Consumer({
        'bootstrap.servers': bootstrap,
        'group.id': 'never-joined',
        'enable.auto.commit': False,
        'auto.offset.reset': 'error',
        'fetch.wait.max.ms': 500,
    })


def read(request):
    client = consumer()
    try:
        client.assign([TopicPartition(request['topic'], request['partition'], request['offset'])])
        records = []
        while len(records) < request['count']:
            message = client.poll(PATIENCE)
            if message is None:
                raise RuntimeError(f'{len(records)} of {request["count"]} records')
            if message.error():
                raise KafkaException(message.error())
            records.append(lines.record_of(
                message.offset(), message.timestamp()[1], message.key(), message.value(),
                message.headers()))
        return {'records': records}
    finally:
        client.close()


def offset_for_time(request):
    client = consumer()
    try:
        wanted = TopicPartition(request['topic'], request['partition'], request['timestamp'])
        [found] = client.offsets_for_times([wanted], timeout=PATIENCE)
        if found.error:
            raise KafkaException(found.error)
        return {'offset': found.offset}
    finally:
        client.close()


lines.serve({'produce': produce, 'read': read, 'offsetForTime': offset_for_time})

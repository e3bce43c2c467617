// Drives sarama: sarama BOOTSTRAP.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"

	"shardlog/test/clients/lines"
)

const patience = 30 * time.Second

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

type driver struct{ bootstrap []string }

func (d driver) handle(request lines.Request) (lines.Answer, error) {
	switch request.Op {
	case "produce":
		return d.produce(request)
	case "read":
		return d.read(request)
	case "offsetForTime":
		return d.offsetForTime(request)
	}
	return lines.Answer{}, fmt.Errorf("unknown op %q", request.Op)
}

func (d driver) produce(r lines.Request) (lines.Answer, error) {
	config := sarama.NewConfig()
	config.Producer.Compression = codecs[r.Codec]
	config.Producer.RequiredAcks = sarama.RequiredAcks(r.Acks)
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.MaxMessageBytes = 1 << 20
	if r.Idempotent != nil && *r.Idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	producer, err := sarama.NewSyncProducer(d.bootstrap, config)
	if err != nil {
		return lines.Answer{}, err
	}
	defer producer.Close()
	messages := make([]*sarama.ProducerMessage, len(r.Records))
	for i, record := range r.Records {
		message := &sarama.ProducerMessage{Topic: r.Topic, Partition: r.Partition,
			Timestamp: time.UnixMilli(record.Timestamp)}
		if record.Key != nil {
			message.Key = sarama.ByteEncoder(record.Key)
		}
		if record.Value != nil {
			message.Value = sarama.ByteEncoder(record.Value)
		}
		for _, h := range record.Headers {
			header := sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value}
			message.Headers = append(message.Headers, header)
		}
		messages[i] = message
	}
	if err := producer.SendMessages(messages); err != nil {
		return lines.Answer{}, err
	}
	answer := lines.Answer{}
	for _, message := range messages {
		answer.Offsets = append(answer.Offsets, message.Offset)
	}
	return answer, nil
}

func (d driver) read(r lines.Request) (lines.Answer, error) {
	config := sarama.NewConfig()
	// Closing waits for the fetch that is under way at the end of the log.
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	consumer, err := sarama.NewConsumer(d.bootstrap, config)
	if err != nil {
		return lines.Answer{}, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(r.Topic, r.Partition, r.Offset)
	if err != nil {
		return lines.Answer{}, err
	}
	defer partition.Close()
	answer := lines.Answer{}
	deadline := time.After(patience)
	for len(answer.Records) < r.Count {
		select {
		case message := <-partition.Messages():
			headers := []lines.Header{}
			for _, h := range message.Headers {
				headers = append(headers, lines.Header{Name: string(h.Key), Value: h.Value})
			}
			answer.Records = append(answer.Records, lines.Record{Offset: message.Offset,
				Timestamp: message.Timestamp.UnixMilli(), Key: message.Key, Value: message.Value,
				Headers: headers})
		case <-deadline:
			return lines.Answer{}, fmt.Errorf("%d of %d records", len(answer.Records), r.Count)
		}
	}
	return answer, nil
}

func (d driver) offsetForTime(r lines.Request) (lines.Answer, error) {
	client, err := sarama.NewClient(d.bootstrap, sarama.NewConfig())
	if err != nil {
		return lines.Answer{}, err
	}
	defer client.Close()
	offset, err := client.GetOffset(r.Topic, r.Partition, r.Timestamp)
	return lines.Answer{Offset: &offset}, err
}

func main() {
	lines.Serve(driver{bootstrap: os.Args[1:2]}.handle)
}

// Package lines is the driver side of the test protocol (see ../../scenario.ts): one JSON request
// a line on standard input, one JSON answer a line on standard output.
package lines

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Header is a record header; a nil Value is a null one.
type Header struct {
	Name  string
	Value []byte
}

// MarshalJSON writes the header as a pair.
func (h Header) MarshalJSON() ([]byte, error) { return json.Marshal([]any{h.Name, h.Value}) }

// UnmarshalJSON reads the header from a pair.
func (h *Header) UnmarshalJSON(text []byte) error {
	pair := []any{&h.Name, &h.Value}
	return json.Unmarshal(text, &pair)
}

// Record carries its bytes as base64, which is what encoding/json does with []byte.
type Record struct {
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []Header `json:"headers"`
}

// Request is the union of the fields of all requests.
type Request struct {
	Op         string            `json:"op"`
	Topic      string            `json:"topic"`
	Partition  int32             `json:"partition"`
	Partitions int32             `json:"partitions"`
	Configs    map[string]string `json:"configs"`
	Codec      string            `json:"codec"`
	Acks       int16             `json:"acks"`
	Idempotent *bool             `json:"idempotent"`
	Records    []Record          `json:"records"`
	Offset     int64             `json:"offset"`
	Count      int               `json:"count"`
	Timestamp  int64             `json:"timestamp"`
}

// Answer is the union of the fields of all answers.
type Answer struct {
	Offsets []int64  `json:"offsets,omitempty"`
	Records []Record `json:"records,omitempty"`
	Offset  *int64   `json:"offset,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// Serve answers requests until standard input ends.
func Serve(handle func(Request) (Answer, error)) {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		var request Request
		answer := Answer{}
		if err = json.Unmarshal(line, &request); err == nil {
			answer, err = handle(request)
		}
		if err != nil {
			answer = Answer{Error: err.Error()}
		}
		if err := out.Encode(answer); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

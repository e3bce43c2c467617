/*
 * The client of the end-to-end benchmark, on librdkafka. One process is one job:
 *
 *   bench-client create  name=value...   topic, partitions
 *   bench-client delete  name=value...   topic
 *   bench-client offsets name=value...   topic, partitions: low and high watermark of each
 *   bench-client produce name=value...   topic, partitions, records, size, burst, connections
 *   bench-client consume name=value...   topic, partitions, records
 *   bench-client latency name=value...   topic, records, size, rate
 *   bench-client steady  name=value...   topic, size, rate
 *
 * Every name with a dot in it is a setting of librdkafka; `brokers` is required. produce, consume
 * and latency print {"event":"ready"} when connected, wait for a line on standard input, work,
 * print {"event":"done",...} and then, after the next statistics, {"event":"requests",...}.
 * steady goes on until its standard input ends and answers the lines that come there: `mark` with
 * {"event":"marked"}, `report` with {"event":"report",...}, what was acknowledged since the mark.
 * Any error ends the process with status 1 and a message on standard error; a connection that is
 * lost is none for steady.
 */
#include <errno.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { kMaxSettings = 64, kMaxPartitions = 4096, kPatienceMs = 120000 };

struct setting {
  const char* name;
  const char* value;
};

struct job {
  const char* topic;
  int partitions;
  int64_t records;
  size_t size;
  int burst;
  int connections;
  int64_t rate;
  struct setting settings[kMaxSettings];
  int setting_count;
};

static struct job job = {.partitions = 1, .records = 1, .size = 1024, .burst = 1, .connections = 1,
                         .rate = 1000};
static atomic_llong delivered;

/* What on_delivery is to note of each acknowledgement beside its number; null: nothing. */
static void (*on_acknowledged)(const rd_kafka_message_t* message);
static int outlives_connections;

/* Of one client; only the thread that polls it touches them. */
struct statistics {
  int seen;
  long long produce_requests;
  long long fetch_requests;
};

static void die(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int64_t number_of(const char* name, const char* value, int64_t low, int64_t high) {
  char* end = NULL;
  errno = 0;
  long long number = strtoll(value, &end, 10);
  if (errno != 0 || *value == '\0' || *end != '\0' || number < low || number > high) {
    die("%s=%s is not a number from %" PRId64 " to %" PRId64, name, value, low, high);
  }
  return number;
}

static void read_arguments(int count, char** arguments) {
  for (int i = 0; i < count; i++) {
    char* equals = strchr(arguments[i], '=');
    if (equals == NULL) die("%s is not name=value", arguments[i]);
    *equals = '\0';
    const char* name = arguments[i];
    const char* value = equals + 1;
    if (strcmp(name, "topic") == 0) {
      job.topic = value;
    } else if (strcmp(name, "partitions") == 0) {
      job.partitions = (int)number_of(name, value, 1, kMaxPartitions);
    } else if (strcmp(name, "records") == 0) {
      job.records = number_of(name, value, 1, INT32_MAX);
    } else if (strcmp(name, "size") == 0) {
      job.size = (size_t)number_of(name, value, 8, 64 << 20);
    } else if (strcmp(name, "burst") == 0) {
      job.burst = (int)number_of(name, value, 1, 1 << 20);
    } else if (strcmp(name, "connections") == 0) {
      job.connections = (int)number_of(name, value, 1, 64);
    } else if (strcmp(name, "rate") == 0) {
      job.rate = number_of(name, value, 1, 1000000);
    } else {
      if (job.setting_count == kMaxSettings) die("too many settings");
      struct setting* setting = &job.settings[job.setting_count++];
      setting->name = strcmp(name, "brokers") == 0 ? "bootstrap.servers" : name;
      setting->value = value;
    }
  }
  if (job.topic == NULL) die("topic is missing");
}

static void on_delivery(rd_kafka_t* client, const rd_kafka_message_t* message, void* opaque) {
  (void)client;
  (void)opaque;
  if (message->err != 0) die("a record was not delivered: %s", rd_kafka_err2str(message->err));
  if (on_acknowledged != NULL) on_acknowledged(message);
  atomic_fetch_add_explicit(&delivered, 1, memory_order_relaxed);
}

/* Sum of what follows each `"name":` in the statistics; they name requests once per broker. */
static long long sum_of(const char* json, const char* name) {
  char key[32];
  snprintf(key, sizeof(key), "\"%s\":", name);
  long long sum = 0;
  for (const char* at = strstr(json, key); at != NULL; at = strstr(at + 1, key)) {
    sum += strtoll(at + strlen(key), NULL, 10);
  }
  return sum;
}

static int on_statistics(rd_kafka_t* client, char* json, size_t length, void* opaque) {
  (void)client;
  (void)length;
  struct statistics* statistics = opaque;
  statistics->seen++;
  statistics->produce_requests = sum_of(json, "Produce");
  statistics->fetch_requests = sum_of(json, "Fetch");
  return 0;
}

static void on_error(rd_kafka_t* client, int error, const char* reason, void* opaque) {
  (void)client;
  (void)opaque;
  if (outlives_connections && error != RD_KAFKA_RESP_ERR__FATAL) return;
  die("%s: %s", rd_kafka_err2name(error), reason);
}

static rd_kafka_t* open_client(rd_kafka_type_t type, int with_deliveries) {
  char why[512];
  rd_kafka_conf_t* settings = rd_kafka_conf_new();
  for (int i = 0; i < job.setting_count; i++) {
    const struct setting* s = &job.settings[i];
    if (rd_kafka_conf_set(settings, s->name, s->value, why, sizeof(why)) != RD_KAFKA_CONF_OK) {
      die("%s=%s: %s", s->name, s->value, why);
    }
  }
  rd_kafka_conf_set_error_cb(settings, on_error);
  struct statistics* statistics = calloc(1, sizeof(*statistics));
  if (statistics == NULL) die("out of memory");
  rd_kafka_conf_set_opaque(settings, statistics);
  rd_kafka_conf_set_stats_cb(settings, on_statistics);
  if (with_deliveries) rd_kafka_conf_set_dr_msg_cb(settings, on_delivery);
  rd_kafka_t* client = rd_kafka_new(type, settings, why, sizeof(why));
  if (client == NULL) die("rd_kafka_new: %s", why);
  return client;
}

/* Metadata has come, so the connection stands and the topic is known. */
static void wait_for_topic(rd_kafka_t* client, rd_kafka_topic_t* topic) {
  const rd_kafka_metadata_t* metadata = NULL;
  rd_kafka_resp_err_t error = rd_kafka_metadata(client, 0, topic, &metadata, 30000);
  if (error != 0) die("metadata: %s", rd_kafka_err2str(error));
  if (metadata->topic_cnt != 1 || metadata->topics[0].partition_cnt < job.partitions) {
    die("the topic has not %d partitions", job.partitions);
  }
  rd_kafka_metadata_destroy(metadata);
}

static void say_ready_and_wait(void) {
  char line[16];
  puts("{\"event\":\"ready\"}");
  fflush(stdout);
  if (fgets(line, sizeof(line), stdin) == NULL) die("standard input ended");
}

/* Counts are cumulative: what waits to be told is old, the next one is the whole. */
static void collect_statistics(rd_kafka_t** clients, int count) {
  long long produce_requests = 0;
  long long fetch_requests = 0;
  int64_t deadline = now_ns() + (int64_t)kPatienceMs * 1000000;
  for (int i = 0; i < count; i++) {
    struct statistics* statistics = rd_kafka_opaque(clients[i]);
    while (rd_kafka_poll(clients[i], 0) > 0) continue;
    const int old = statistics->seen;
    while (statistics->seen == old) {
      if (now_ns() > deadline) die("no statistics");
      rd_kafka_poll(clients[i], 50);
    }
    produce_requests += statistics->produce_requests;
    fetch_requests += statistics->fetch_requests;
  }
  printf("{\"event\":\"requests\",\"produce\":%lld,\"fetch\":%lld}\n", produce_requests,
         fetch_requests);
  fflush(stdout);
}

static void check_results(rd_kafka_event_t* event, int creating) {
  size_t count = 0;
  const rd_kafka_topic_result_t** results =
      creating ? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event),
                                                     &count)
               : rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event),
                                                     &count);
  for (size_t i = 0; i < count; i++) {
    rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[i]);
    if (error != 0) die("%s: %s", job.topic, rd_kafka_err2str(error));
  }
}

static void administer(int creating) {
  char why[512];
  rd_kafka_t* client = open_client(RD_KAFKA_PRODUCER, 0);
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  rd_kafka_AdminOptions_t* options =
      rd_kafka_AdminOptions_new(client, creating ? RD_KAFKA_ADMIN_OP_CREATETOPICS
                                                 : RD_KAFKA_ADMIN_OP_DELETETOPICS);
  rd_kafka_AdminOptions_set_request_timeout(options, 30000, why, sizeof(why));
  rd_kafka_NewTopic_t* topic =
      rd_kafka_NewTopic_new(job.topic, job.partitions, 1, why, sizeof(why));
  rd_kafka_DeleteTopic_t* gone = rd_kafka_DeleteTopic_new(job.topic);
  if (topic == NULL) die("%s: %s", job.topic, why);
  if (creating) {
    rd_kafka_CreateTopics(client, &topic, 1, options, queue);
  } else {
    rd_kafka_DeleteTopics(client, &gone, 1, options, queue);
  }
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 60000);
  if (event == NULL) die("no answer");
  if (rd_kafka_event_error(event) != 0) die("%s", rd_kafka_event_error_string(event));
  check_results(event, creating);
  rd_kafka_event_destroy(event);
  rd_kafka_NewTopic_destroy(topic);
  rd_kafka_DeleteTopic_destroy(gone);
  rd_kafka_AdminOptions_destroy(options);
  rd_kafka_queue_destroy(queue);
  rd_kafka_destroy(client);
}

static void print_offsets(void) {
  rd_kafka_t* client = open_client(RD_KAFKA_CONSUMER, 0);
  printf("{\"event\":\"offsets\",\"partitions\":[");
  for (int p = 0; p < job.partitions; p++) {
    int64_t low = 0;
    int64_t high = 0;
    rd_kafka_resp_err_t error =
        rd_kafka_query_watermark_offsets(client, job.topic, p, &low, &high, 30000);
    if (error != 0) die("offsets of %s-%d: %s", job.topic, p, rd_kafka_err2str(error));
    printf("%s[%" PRId64 ",%" PRId64 "]", p == 0 ? "" : ",", low, high);
  }
  puts("]}");
  rd_kafka_destroy(client);
}

struct producer {
  rd_kafka_t* client;
  rd_kafka_topic_t* topic;
  int64_t records;
  int first_partition;
};

/* Fills one partition's batch before it turns to the next, so that batches are full. */
static void* produce_all(void* argument) {
  struct producer* self = argument;
  char* value = malloc(job.size);
  if (value == NULL) die("out of memory");
  for (size_t i = 0; i < job.size; i++) value[i] = (char)(i * 31 + 7);
  int partition = self->first_partition;
  int in_burst = 0;
  for (int64_t sent = 0; sent < self->records; sent++) {
    memcpy(value, &sent, sizeof(sent));
    while (rd_kafka_produce(self->topic, partition, RD_KAFKA_MSG_F_COPY, value, job.size, NULL, 0,
                            NULL) != 0) {
      rd_kafka_resp_err_t error = rd_kafka_last_error();
      if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) die("produce: %s", rd_kafka_err2str(error));
      rd_kafka_poll(self->client, 10);
    }
    if (++in_burst == job.burst) {
      in_burst = 0;
      partition = (partition + 1) % job.partitions;
      rd_kafka_poll(self->client, 0);
    }
  }
  rd_kafka_resp_err_t error = rd_kafka_flush(self->client, kPatienceMs);
  if (error != 0) die("flush: %s", rd_kafka_err2str(error));
  free(value);
  return NULL;
}

static void produce(void) {
  struct producer producers[64];
  pthread_t threads[64];
  rd_kafka_t* clients[64];
  for (int i = 0; i < job.connections; i++) {
    struct producer* p = &producers[i];
    p->client = clients[i] = open_client(RD_KAFKA_PRODUCER, 1);
    p->topic = rd_kafka_topic_new(p->client, job.topic, NULL);
    p->records = job.records / job.connections + (i < job.records % job.connections ? 1 : 0);
    p->first_partition = i % job.partitions;
    wait_for_topic(p->client, p->topic);
  }
  say_ready_and_wait();
  double cpu = cpu_seconds();
  int64_t start = now_ns();
  for (int i = 0; i < job.connections; i++) {
    if (pthread_create(&threads[i], NULL, produce_all, &producers[i]) != 0) die("no thread");
  }
  for (int i = 0; i < job.connections; i++) pthread_join(threads[i], NULL);
  double seconds = (double)(now_ns() - start) / 1e9;
  printf("{\"event\":\"done\",\"records\":%lld,\"bytes\":%lld,\"seconds\":%.6f,\"clientCpu\":%.6f}\n",
         (long long)atomic_load(&delivered), (long long)atomic_load(&delivered) * (long long)job.size,
         seconds, cpu_seconds() - cpu);
  fflush(stdout);
  collect_statistics(clients, job.connections);
}

/* Checks that offsets have no gap; returns the bytes of the value. */
static size_t accept_record(const rd_kafka_message_t* message, int64_t* next) {
  if (message->err != 0) die("consume: %s", rd_kafka_message_errstr(message));
  if (message->partition < 0 || message->partition >= job.partitions) die("a strange partition");
  if (message->offset != next[message->partition]) {
    die("partition %d: offset %" PRId64 " where %" PRId64 " was expected", message->partition,
        message->offset, next[message->partition]);
  }
  next[message->partition]++;
  return message->len;
}

static void consume(void) {
  static int64_t next[kMaxPartitions];
  static rd_kafka_message_t* batch[4096];
  rd_kafka_t* client = open_client(RD_KAFKA_CONSUMER, 0);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(client, job.topic, NULL);
  wait_for_topic(client, topic);
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  say_ready_and_wait();
  double cpu = cpu_seconds();
  int64_t start = now_ns();
  int64_t deadline = start + (int64_t)kPatienceMs * 1000000;
  for (int p = 0; p < job.partitions; p++) {
    if (rd_kafka_consume_start_queue(topic, p, 0, queue) != 0) die("consume: cannot start");
  }
  int64_t records = 0;
  int64_t bytes = 0;
  while (records < job.records) {
    ssize_t count = rd_kafka_consume_batch_queue(queue, 100, batch, 4096);
    if (count < 0) die("consume: %s", rd_kafka_err2str(rd_kafka_last_error()));
    for (ssize_t i = 0; i < count; i++) {
      bytes += (int64_t)accept_record(batch[i], next);
      rd_kafka_message_destroy(batch[i]);
    }
    records += count;
    if (now_ns() > deadline) die("consume: %" PRId64 " records only", records);
  }
  double seconds = (double)(now_ns() - start) / 1e9;
  printf("{\"event\":\"done\",\"records\":%" PRId64 ",\"bytes\":%" PRId64
         ",\"seconds\":%.6f,\"clientCpu\":%.6f}\n",
         records, bytes, seconds, cpu_seconds() - cpu);
  fflush(stdout);
  collect_statistics(&client, 1);
}

static int64_t* latencies;
static int64_t* acknowledged_after;

static int64_t stamp_of(const rd_kafka_message_t* message) {
  int64_t sent;
  if (message->len < sizeof(sent)) die("a record without a time");
  memcpy(&sent, message->payload, sizeof(sent));
  return sent;
}

/* Only the thread that polls calls it, and it alone counts. */
static void note_latency(const rd_kafka_message_t* message) {
  acknowledged_after[atomic_load(&delivered)] = now_ns() - stamp_of(message);
}

static void* consume_stamped(void* argument) {
  static int64_t next[kMaxPartitions];
  rd_kafka_topic_t* topic = argument;
  for (int64_t i = 0; i < job.records; i++) {
    rd_kafka_message_t* message = rd_kafka_consume(topic, 0, 30000);
    if (message == NULL) die("latency: %" PRId64 " records only", i);
    int64_t arrived = now_ns();
    accept_record(message, next);
    latencies[i] = arrived - stamp_of(message);
    rd_kafka_message_destroy(message);
  }
  return NULL;
}

static void* poll_deliveries(void* argument) {
  while (atomic_load(&delivered) < job.records) rd_kafka_poll(argument, 100);
  return NULL;
}

static int by_value(const void* a, const void* b) {
  int64_t x = *(const int64_t*)a;
  int64_t y = *(const int64_t*)b;
  return (x > y) - (x < y);
}

static double percentile_us(const int64_t* sorted, int64_t count, double fraction) {
  int64_t at = (int64_t)(fraction * (double)count);
  return (double)sorted[at < count ? at : count - 1] / 1e3;
}

/* Sends the `i`th record of a steady rate, with the time at which that was, when it is due. */
static void produce_on_time(rd_kafka_topic_t* topic, char* value, int64_t start, int64_t i) {
  int64_t due = start + i * 1000000000 / job.rate;
  struct timespec until = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) continue;
  int64_t sent = now_ns();
  memcpy(value, &sent, sizeof(sent));
  if (rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, value, job.size, NULL, 0, NULL) != 0) {
    die("produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
  }
}

/* The first second shows how a client starts, not how it goes on: it is left out. */
static int64_t sort_steady(int64_t** values) {
  int64_t skipped = job.records > job.rate ? job.rate : 0;
  *values += skipped;
  qsort(*values, (size_t)(job.records - skipped), sizeof(int64_t), by_value);
  return job.records - skipped;
}

/* From the call of the producer to the acknowledgement, and until the consumer has the record. */
static void measure_latency(void) {
  latencies = calloc((size_t)job.records, sizeof(int64_t));
  acknowledged_after = calloc((size_t)job.records, sizeof(int64_t));
  char* value = calloc(1, job.size);
  if (latencies == NULL || acknowledged_after == NULL || value == NULL) die("out of memory");
  on_acknowledged = note_latency;
  rd_kafka_t* reader = open_client(RD_KAFKA_CONSUMER, 0);
  rd_kafka_topic_t* readable = rd_kafka_topic_new(reader, job.topic, NULL);
  rd_kafka_t* writer = open_client(RD_KAFKA_PRODUCER, 1);
  rd_kafka_topic_t* writable = rd_kafka_topic_new(writer, job.topic, NULL);
  wait_for_topic(reader, readable);
  wait_for_topic(writer, writable);
  if (rd_kafka_consume_start(readable, 0, 0) != 0) die("consume: cannot start");
  say_ready_and_wait();
  pthread_t consumer;
  pthread_t poller;
  double cpu = cpu_seconds();
  int64_t start = now_ns();
  if (pthread_create(&consumer, NULL, consume_stamped, readable) != 0 ||
      pthread_create(&poller, NULL, poll_deliveries, writer) != 0) {
    die("no thread");
  }
  for (int64_t i = 0; i < job.records; i++) produce_on_time(writable, value, start, i);
  pthread_join(consumer, NULL);
  pthread_join(poller, NULL);
  double seconds = (double)(now_ns() - start) / 1e9;
  int64_t* consumed = latencies;
  int64_t* acknowledged = acknowledged_after;
  int64_t count = sort_steady(&consumed);
  sort_steady(&acknowledged);
  printf("{\"event\":\"done\",\"records\":%" PRId64 ",\"bytes\":%" PRId64
         ",\"seconds\":%.6f,\"clientCpu\":%.6f,\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f"
         ",\"acknowledgedP50\":%.1f,\"acknowledgedP99\":%.1f}\n",
         job.records, job.records * (int64_t)job.size, seconds, cpu_seconds() - cpu,
         percentile_us(consumed, count, 0.5), percentile_us(consumed, count, 0.99),
         percentile_us(consumed, count, 0.999), percentile_us(acknowledged, count, 0.5),
         percentile_us(acknowledged, count, 0.99));
  fflush(stdout);
  rd_kafka_t* clients[] = {writer, reader};
  collect_statistics(clients, 2);
}

/* Of the time since the mark; under its lock. */
static struct {
  pthread_mutex_t lock;
  int64_t count;
  int64_t last_ns;
  int64_t longest_ns;
} acknowledged = {.lock = PTHREAD_MUTEX_INITIALIZER};
static atomic_int stopping;

static void note_gap(const rd_kafka_message_t* message) {
  (void)message;
  pthread_mutex_lock(&acknowledged.lock);
  int64_t now = now_ns();
  int64_t gap = now - acknowledged.last_ns;
  if (gap > acknowledged.longest_ns) acknowledged.longest_ns = gap;
  acknowledged.last_ns = now;
  acknowledged.count++;
  pthread_mutex_unlock(&acknowledged.lock);
}

/* A mark in the midst of a gap does not shorten it. */
static void mark(void) {
  pthread_mutex_lock(&acknowledged.lock);
  acknowledged.count = 0;
  acknowledged.longest_ns = 0;
  pthread_mutex_unlock(&acknowledged.lock);
  puts("{\"event\":\"marked\"}");
}

static void report(void) {
  pthread_mutex_lock(&acknowledged.lock);
  printf("{\"event\":\"report\",\"records\":%" PRId64
         ",\"longestGapMs\":%.3f,\"silentMs\":%.3f}\n",
         acknowledged.count, (double)acknowledged.longest_ns / 1e6,
         (double)(now_ns() - acknowledged.last_ns) / 1e6);
  pthread_mutex_unlock(&acknowledged.lock);
}

static void* obey(void* unused) {
  char line[16];
  while (fgets(line, sizeof(line), stdin) != NULL) {
    if (strcmp(line, "mark\n") == 0) mark();
    if (strcmp(line, "report\n") == 0) report();
    fflush(stdout);
  }
  atomic_store(&stopping, 1);
  return unused;
}

static void* poll_until_stopped(void* client) {
  while (!atomic_load(&stopping)) rd_kafka_poll(client, 100);
  return NULL;
}

static void produce_steadily(void) {
  pthread_t poller;
  pthread_t commands;
  outlives_connections = 1;
  on_acknowledged = note_gap;
  char* value = calloc(1, job.size);
  if (value == NULL) die("out of memory");
  rd_kafka_t* client = open_client(RD_KAFKA_PRODUCER, 1);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(client, job.topic, NULL);
  wait_for_topic(client, topic);
  say_ready_and_wait();
  int64_t start = acknowledged.last_ns = now_ns();
  if (pthread_create(&poller, NULL, poll_until_stopped, client) != 0 ||
      pthread_create(&commands, NULL, obey, NULL) != 0) {
    die("no thread");
  }
  int64_t sent = 0;
  while (!atomic_load(&stopping)) produce_on_time(topic, value, start, sent++);
  pthread_join(poller, NULL);
  rd_kafka_resp_err_t error = rd_kafka_flush(client, kPatienceMs);
  if (error != 0) die("flush: %s", rd_kafka_err2str(error));
  printf("{\"event\":\"done\",\"records\":%" PRId64 "}\n", sent);
}

int main(int argc, char** argv) {
  if (argc < 2) {
    die("usage: bench-client create|delete|offsets|produce|consume|latency|steady name=value...");
  }
  read_arguments(argc - 2, argv + 2);
  const char* what = argv[1];
  if (strcmp(what, "create") == 0) {
    administer(1);
  } else if (strcmp(what, "delete") == 0) {
    administer(0);
  } else if (strcmp(what, "offsets") == 0) {
    print_offsets();
  } else if (strcmp(what, "produce") == 0) {
    produce();
  } else if (strcmp(what, "consume") == 0) {
    consume();
  } else if (strcmp(what, "latency") == 0) {
    measure_latency();
  } else if (strcmp(what, "steady") == 0) {
    produce_steadily();
  } else {
    die("%s: no such job", what);
  }
  fflush(stdout);
  /* What was asked has been answered; waiting for librdkafka's threads would only cost time. */
  _Exit(0);
}

#include "catalog/store/transfer.h"

#include "catalog/store/file_reader.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define DEFAULT_CONNECTIONS 16
#define DEFAULT_CONNECT_MS 10000
#define DEFAULT_DEADLINE_MS 60000
#define DEFAULT_RETRIES 5

struct transfer {
	struct transfer_config config;
	pthread_mutex_t lock; /* guards the start of `reader` */
	struct file_reader *reader;
};

int transfer_start(const struct transfer_config *config, struct transfer **ret, struct err *e)
{
	struct transfer *t = calloc(1, sizeof *t);
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	if (config)
		t->config = *config;
	if (!t->config.max_connections_per_store)
		t->config.max_connections_per_store = DEFAULT_CONNECTIONS;
	if (!t->config.connect_timeout_ms)
		t->config.connect_timeout_ms = DEFAULT_CONNECT_MS;
	if (!t->config.deadline_ms)
		t->config.deadline_ms = DEFAULT_DEADLINE_MS;
	if (!t->config.max_retries)
		t->config.max_retries = DEFAULT_RETRIES;
	pthread_mutex_init(&t->lock, NULL);
	*ret = t;
	return 0;
}

void transfer_stop(struct transfer *t)
{
	if (!t)
		return;
	file_reader_stop(t->reader);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

const struct transfer_config *transfer_settings(const struct transfer *t)
{
	return &t->config;
}

struct file_reader *transfer_reader(struct transfer *t)
{
	pthread_mutex_lock(&t->lock);
	if (!t->reader)
		t->reader = file_reader_start();
	struct file_reader *r = t->reader;
	pthread_mutex_unlock(&t->lock);
	return r;
}

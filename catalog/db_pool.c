/* Connections to one untrusted file, kept for whoever needs one next. */
#include "catalog/db.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct db_pool {
	int fd; /* the file, for connections to come: whoever removes or replaces its name meanwhile */
	char *name;
	unsigned max_idle;
	pthread_mutex_t lock; /* guards the rest */
	struct db **idle;
	unsigned idle_count;
};

int db_pool_open(const char *path, const char *name, const char *schema, unsigned max_idle, struct db_pool **ret, struct err *e)
{
	struct db_pool *p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, -ENOMEM, "%s: out of memory", name);
	pthread_mutex_init(&p->lock, NULL);
	p->max_idle = max_idle ? max_idle : 1;
	p->name = strdup(name);
	p->idle = calloc(p->max_idle, sizeof(struct db *));
	p->fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = p->fd < 0 ? err_set(e, -errno, "%s: %s", name, strerror(errno)) : 0;
	if (!r && (!p->name || !p->idle))
		r = err_set(e, -ENOMEM, "%s: out of memory", name);
	if (!r)
		r = db_open_fd(p->fd, name, schema, &p->idle[0], e);
	if (r) {
		db_pool_close(p);
		return r;
	}
	p->idle_count = 1;
	*ret = p;
	return 0;
}

void db_pool_close(struct db_pool *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->idle_count; i++)
		db_close(p->idle[i]);
	pthread_mutex_destroy(&p->lock);
	free(p->idle);
	free(p->name);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

/* The schema was checked with the first connection, and the file does not change. */
int db_pool_take(struct db_pool *p, struct db **ret, struct err *e)
{
	struct db *db = NULL;
	pthread_mutex_lock(&p->lock);
	if (p->idle_count)
		db = p->idle[--p->idle_count];
	pthread_mutex_unlock(&p->lock);
	if (!db)
		return db_open_fd(p->fd, p->name, NULL, ret, e);
	*ret = db;
	return 0;
}

void db_pool_give(struct db_pool *p, struct db *db)
{
	if (!db)
		return;
	pthread_mutex_lock(&p->lock);
	bool kept = p->idle_count < p->max_idle;
	if (kept)
		p->idle[p->idle_count++] = db;
	pthread_mutex_unlock(&p->lock);
	if (!kept)
		db_close(db);
}

/*
 * The I/O threads that read local files for store_fetch, so that a slow disk or a hung network mount parks them and not
 * the caller.  Three FIFO queues, demand first.
 *
 * Thread rules: any thread may submit, cancel and raise; callbacks run on an I/O thread with no lock held.
 */
#ifndef MESHFS_CATALOG_STORE_FILE_READER_H
#define MESHFS_CATALOG_STORE_FILE_READER_H

#include "catalog/store/store.h"

#define READER_THREADS 4
#define READER_BLOCK (256u << 10) /* bytes a pread: large enough to amortise the call, small enough to stay in the L2 cache */

struct file_reader;

struct file_reader *file_reader_start(void); /* NULL on failure */
/* Everything queued or running ends with -ECANCELED; joins.  NULL is legal. */
void file_reader_stop(struct file_reader *r);

/* How the file behind a request is opened: an fd that the reader closes, or -errno with `e` filled in.  Runs on an I/O thread. */
typedef int file_reader_open_fn(void *store, const char *key, const char *if_match, struct err *e);

int file_reader_submit(struct file_reader *r, file_reader_open_fn *open, void *store, const struct fetch_request *request, int64_t deadline_ms,
		  struct fetch **ret);

#endif

/*
 * The notifier: the one thread that tells the kernel what it must not believe any longer, and that watches for news: new
 * generations (every `refresh`, and at once when another process of this host says so), edited policy files.
 *
 * Invalidations take locks of the kernel that a request may hold, so they come from this thread only, and not for
 * folders of a domain for which requests are parked (they wait until those are answered).
 *
 * Thread rules: notify_* from any thread; they only queue.  notify_session_gone waits until the thread is done with the session.
 */
#ifndef MESHFS_FS_NOTIFY_H
#define MESHFS_FS_NOTIFY_H

#include "catalog/base/err.h"

#include <stdint.h>

struct domain_host;
struct mesh;
struct notifier;
struct session;

int notify_start(struct mesh *m, struct notifier **ret, struct err *e);
/* Ends the thread.  notify_* still only queue, for nobody, until notify_free.  NULL is legal to both. */
void notify_stop(struct notifier *n);
void notify_free(struct notifier *n);
void notify_domain(struct notifier *n, struct domain_host *h);  /* a newer generation is current */
void notify_name(struct notifier *n, struct session *s, uint64_t parent, const char *name); /* leads elsewhere now */
void notify_views(struct notifier *n);                            /* sizes that were told are wrong: every name leads elsewhere */
void notify_session(struct notifier *n, struct session *s);      /* a session began */
void notify_session_gone(struct notifier *n, struct session *s); /* before its kernel connection is freed */

#endif

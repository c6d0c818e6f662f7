/*
 * Detaching from the terminal: the parent waits on a pipe until the child says that it is ready, or why it cannot be.
 *
 * Order matters (docs/LOCKING.md): parse and validate, daemon_fork, and only then threads, curl, SQLite and the mount, none of which
 * survives a fork.
 */
#ifndef MESHFS_FS_DAEMON_H
#define MESHFS_FS_DAEMON_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct daemon;

/* Returns twice, as fork does: *ret is NULL in the parent, which has waited for daemon_ready: 0, or the child's error.  A parent that is
 * interrupted ends the child.  With `foreground` nothing is forked and *ret is set. */
int daemon_fork(bool foreground, struct daemon **ret, struct err *e);
/* Opens the log (the state folder's log/NAME.log) that takes over from stderr once the daemon is ready; its path, or NULL. */
const char *daemon_log(struct daemon *d, const char *name);
/* Tells the parent (NULL: ready) and lets go of the terminal. */
void daemon_ready(struct daemon *d, const struct err *problem);
void daemon_free(struct daemon *d);

/* Signals that end a mount (TERM, INT, HUP) are blocked from here on, in every thread, and waited for. */
void signals_block(void);
/* A signal within the time (then its number), else 0. */
int signals_wait(int64_t timeout_ms);

#endif

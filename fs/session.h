/*
 * Sessions: one mount for one subject.
 *
 * A `struct mesh` is what a process has once, however many sessions it hosts: the mesh file, the domains, the transfer
 * engine, the read path with its cache, the recorder, the policy in force, the notifier thread.  A `struct session` is one
 * mount: its subject, its run, its nodes and its kernel connection.
 *
 *     mesh_start(config, &mesh, &e);              after the last fork: it starts threads
 *     session_start(mesh, &sc, &session, &e);     returns when the mount answers
 *     session_wait(session, -1);                  until somebody unmounts it
 *     session_stop(session, status, &e);          unmounts (also a busy mount), ends the run
 *     mesh_stop(mesh, &left, &e);                   returns when everything is on record
 *
 * Thread rules: start and stop of one object from one thread at a time; session_wait and session_end from any thread (session_end
 * not from a signal handler: use a signalfd or sigwait).  The process must not touch its own mounts by path.
 */
#ifndef MESHFS_FS_SESSION_H
#define MESHFS_FS_SESSION_H

#include "catalog/base/err.h"
#include "catalog/mesh.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mesh;
struct session;

/* `config` is borrowed and must outlive the mesh.  Waits a few seconds at most for the domains' newest generations. */
int mesh_start(const struct mesh_config *config, struct mesh **ret, struct err *e);
/* All sessions must be stopped.  The mesh is gone whatever is returned; an error says what could not be put on record. */
/* *ret_left (may be NULL): some of its threads wait for a store and go on using the configuration and what libraries keep: the caller frees nothing, and ends
 * with _exit. */
int mesh_stop(struct mesh *m, bool *ret_left, struct err *e);
struct recorder *mesh_recorder(struct mesh *m);

struct session_config {
	const char *mountpoint;     /* absolute; an existing empty folder */
	const char *user;           /* whom the session is for; NULL: the caller.  Another user: root only, and binding */
	const char *purpose;        /* or NULL */
	/* The run that reads are attributed to.  Has it an id (of recorder_begin_run), the session joins it and leaves
	 * its end to the caller; else the session begins a run called `run_name` (NULL: made up) and ends it. */
	const char *run_id, *run_name;
	const char *command;        /* command line for the run's record, or NULL */
	bool pin;                   /* latest, 1 and 1.2 keep the meaning they have now (runs) */
};

int session_start(struct mesh *m, const struct session_config *c, struct session **ret, struct err *e);
/* Waits until the mount is gone (unmounted by anybody, or session_end).  0, or -ETIMEDOUT; a negative timeout waits for ever. */
int session_wait(struct session *s, int64_t timeout_ms);
void session_end(struct session *s); /* asks for the end: session_wait returns */
/* Unmounts if need be, answers what is parked, closes every record, ends the run (unless joined) with `exit_status`. */
int session_stop(struct session *s, int exit_status, struct err *e);

const char *session_run_id(const struct session *s);
const char *session_mountpoint(const struct session *s);
const char *session_user(const struct session *s); /* whom it is for, by name */

#endif

/*
 * The two processes of `meshfs run`: the one that waits for the command, and the one that serves its mount.
 *
 * They talk over a socket pair.  The server answers RUN_READY with the run's id, or RUN_FAILED with a message; the waiter sends any
 * number of RUN_OUTPUT, then RUN_EXIT; the server unmounts, drains, and answers RUN_DONE or RUN_FAILED.  A closed socket before
 * RUN_EXIT means that the waiter was killed: the server ends the run all the same.
 */
#ifndef MESHFS_FS_RUN_SERVE_H
#define MESHFS_FS_RUN_SERVE_H

#include "catalog/base/err.h"
#include "catalog/mesh.h"
#include "fs/recorder.h"

#include <stdint.h>

#define RUN_TEXT_MAX 4096

enum run_message_kind { RUN_READY = 1, RUN_FAILED, RUN_OUTPUT, RUN_EXIT, RUN_DONE };

struct run_message {
	enum run_message_kind kind;
	int code;              /* RUN_EXIT: the status; RUN_FAILED: the error's code */
	int error_kind;        /* RUN_FAILED */
	int64_t size;          /* RUN_OUTPUT */
	char sha256[65];       /* RUN_OUTPUT */
	char text[RUN_TEXT_MAX]; /* id, message or path */
};

int run_send(int fd, const struct run_message *m); /* 0 or -errno */
int run_receive(int fd, struct run_message *ret);  /* 0, -EPIPE at the end, or -errno */

struct run_setup {
	const struct mesh_config *mesh;
	struct run_facts facts;
	const char *for_user; /* --user, or NULL */
};

/* The server's whole life; returns its exit status. */
int run_serve(const struct run_setup *setup, int fd);

#endif

#include "fs/run_serve.h"

#include "catalog/base/clock.h"
#include "catalog/lineage.h"
#include "fs/identity.h"
#include "fs/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUTPUT_WAIT_NS 60000000000LL
#define OUTPUT_RETRY_US 200000

int run_send(int fd, const struct run_message *m)
{
	ssize_t n;
	do
		n = send(fd, m, sizeof *m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof *m ? 0 : n < 0 ? -errno : -EIO;
}

int run_receive(int fd, struct run_message *ret)
{
	ssize_t n;
	do
		n = recv(fd, ret, sizeof *ret, 0);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return -EPIPE;
	ret->text[RUN_TEXT_MAX - 1] = ret->sha256[64] = '\0';
	return n == (ssize_t)sizeof *ret ? 0 : n < 0 ? -errno : -EIO;
}

static void send_failure(int fd, const struct err *e)
{
	struct run_message m = { .kind = RUN_FAILED, .code = e->code, .error_kind = e->kind };
	snprintf(m.text, sizeof m.text, "%s", e->text);
	run_send(fd, &m);
}

/* Waits for the database as the end of a run waits for its reads to be written. */
static int record_output(const struct run_setup *setup, const char *run, const struct run_message *m, struct err *e)
{
	const int64_t until_ns = clock_mono_ns() + OUTPUT_WAIT_NS;
	for (;;) {
		struct lineage *l = NULL;
		struct err why = ERR_INIT;
		int r = lineage_open(setup->mesh->lineage_db, &l, &why);
		if (!r)
			r = lineage_artifact_add(l, run, m->text, m->sha256, m->size, clock_now_ns(), &why);
		lineage_close(l);
		if (!r)
			return 0;
		if ((r != -EBUSY && r != -ENOSPC) || clock_mono_ns() >= until_ns)
			return err_set_kind(e, ERR_FAIL, r, "--output %s: not on record: %s", m->text, why.text);
		usleep(OUTPUT_RETRY_US);
	}
}

/* What the command made: until the waiter says how it ended.  `ret` is why an output is not on record, when one is not. */
static int receive_end(const struct run_setup *setup, const char *run, int fd, struct err *ret)
{
	struct run_message m;
	int r, status = 128 + 9;
	while (!(r = run_receive(fd, &m)) && m.kind == RUN_OUTPUT)
		if (!ret->code)
			record_output(setup, run, &m, ret);
	if (!r && m.kind == RUN_EXIT)
		status = m.code;
	return status;
}

static int serve_session(const struct run_setup *setup, struct mesh *mesh, const char *run, int fd, int *ret_status, struct err *e)
{
	struct session *session;
	struct session_config config = { .mountpoint = setup->facts.mount, .user = setup->for_user, .purpose = setup->facts.purpose, .run_id = run,
					 .run_name = setup->facts.name, .command = setup->facts.command, .pin = true };
	int r = session_start(mesh, &config, &session, e);
	if (r)
		return r;
	struct run_message ready = { .kind = RUN_READY };
	snprintf(ready.text, sizeof ready.text, "%s", run);
	run_send(fd, &ready);
	struct err lost = ERR_INIT;
	*ret_status = receive_end(setup, run, fd, &lost);
	r = session_stop(session, *ret_status, e);
	return r ? r : lost.code ? err_move(e, &lost) : 0;
}

/* The run's groups are those that its session's subject has. */
static int begin_run(const struct run_setup *setup, struct mesh *mesh, char run[RUN_ID_SIZE], struct err *e)
{
	struct run_facts facts = setup->facts;
	struct identity who;
	int r = identity_of(setup->for_user, &who, e);
	if (r)
		return r;
	facts.groups = (const char *const *)who.groups;
	facts.group_count = who.group_count;
	r = recorder_begin_run(mesh_recorder(mesh), &facts, run, e);
	identity_fini(&who);
	return r;
}

int run_serve(const struct run_setup *setup, int fd)
{
	struct err e = ERR_INIT, late = ERR_INIT;
	struct mesh *mesh;
	char run[RUN_ID_SIZE] = "";
	int status = 125;
	int r = mesh_start(setup->mesh, &mesh, &e);
	if (r) {
		send_failure(fd, &e);
		return 1;
	}
	r = begin_run(setup, mesh, run, &e);
	if (!r)
		r = serve_session(setup, mesh, run, fd, &status, &e);
	if (run[0] && recorder_end_run(mesh_recorder(mesh), run, status, &late) && !r)
		r = err_move(&e, &late);
	if (mesh_stop(mesh, NULL, &late) && !r)
		r = err_move(&e, &late);
	struct run_message done = { .kind = RUN_DONE };
	if (r)
		send_failure(fd, &e);
	else
		run_send(fd, &done);
	return r ? 1 : 0;
}

/*
 * What the kernel-facing files of this floor share: the insides of `struct mesh` and `struct session` (session.h).
 * Nobody else includes it.
 */
#ifndef MESHFS_FS_STATE_H
#define MESHFS_FS_STATE_H

#include "fs/content.h"
#include "fs/identity.h"
#include "fs/op.h"
#include "fs/opaque.h"
#include "fs/policy_facts.h"
#include "fs/recorder.h"
#include "fs/session.h"
#include "policy/decide.h"

#include <pthread.h>
#include <stdatomic.h>

struct drafts;
struct hold;
struct kernel;
struct nodes;
struct notifier;
struct pool;
struct views_ahead;

/* A domain of the mesh.  Its slow work runs on threads of its own, so that a hung store stalls only its own readers. */
struct domain_host {
	struct mesh *mesh;
	const struct mesh_domain *config;
	struct domain *domain;
	atomic_uint parked;     /* requests that wait for it */
	atomic_uint jobs;       /* of its threads: queued or running */
	pthread_mutex_t lock;   /* guards what follows; rank "domain" */
	struct pool *pool;      /* made when first needed */
	bool refreshing;
	bool asked;             /* a refresh has ended, well or badly */
	int64_t refreshed_ms;   /* monotonic: when the last one ended */
	int code;               /* of the last one */
	char reason[256];
	struct op *waiters;     /* for the first catalog */
	uint64_t generation;    /* that the notifier has told the sessions of */
	pthread_mutex_t contract_lock; /* guards what follows; a leaf */
	struct contract *contract;     /* the one that was parsed last: many versions have the same, or NULL */
	struct digest contract_digest;
	/* Of its own policy; guarded by mesh->reload_lock */
	struct policy_sources good; /* as it last loaded */
	bool has_good;
	bool reached_policy;        /* the last reload had a catalog of it */
	_Atomic int64_t published_ns; /* when its catalog was published: the clock shows no less, or is wrong */
};

struct mesh {
	const struct mesh_config *config;
	struct transfer *transfer;
	struct reader *reader;
	struct recorder *recorder;
	struct domain_host *domains; /* in the order of the mesh file */
	size_t domain_count;
	struct notifier *notifier;
	struct views_ahead *views_ahead;
	int64_t started_ns;
	char host[256];

	pthread_mutex_t reload_lock; /* one reload of the policy at a time; rank "reload" */
	pthread_mutex_t lock; /* guards what follows; rank "mesh" */
	struct policy *policy; /* the last that loaded; NULL: none did, so everything is denied */
	char policy_error[512];
	struct session *sessions;

	atomic_bool abandoned; /* requests still wait for a store: what they use is left to the end of the process */
	_Atomic int64_t latest_ns;      /* the latest time that the clock has shown: it was set back when it shows less */
	_Atomic uint64_t policy_epoch; /* changes with `policy`; decisions of another epoch are made anew */
	atomic_ullong opens, denials, lookups; /* for metrics */
};

struct session {
	struct mesh *mesh;
	struct session *next; /* of the mesh; guarded by mesh->lock */
	struct nodes *nodes;
	struct kernel *kernel;
	struct pool *workers;
	struct drafts *drafts;
	struct hold *hold; /* where policy binds; else NULL */
	char *mountpoint;
	struct subject subject;
	struct identity who;
	char *purpose, *run;
	char run_id[RUN_ID_SIZE];
	bool joined;  /* the run's end is the caller's */
	bool binding; /* made by root for somebody else: only that user may enter */
	struct opaque opaque; /* of inode numbers and the offsets of folders, where policy binds */
	int64_t started_ns;
	/* Pinned sessions: what selectors mean, by domain; NULL until the domain was reached. */
	bool pinned;
	struct snapshot **pins; /* guarded by mesh->lock */

	atomic_uint ops;             /* requests that are not freed yet */
	pthread_mutex_t parked_lock; /* guards parked; a leaf */
	struct op *parked;
	pthread_mutex_t handles_lock; /* guards handles; a leaf */
	struct handle *handles;       /* open files and folders */
};

static inline struct mesh *session_mesh(const struct session *s)
{
	return s->mesh;
}

/* -- mesh.c ---------------------------------------------------------------------------------- */

struct domain_host *mesh_domain_host(struct mesh *m, const char *name); /* NULL when there is none */
/* Runs on the domain's own threads. */
int domain_host_submit(struct domain_host *h, void (*run)(void *arg), void *arg);
/* Looks for a newer generation in the background; joins a look under way.  `op` (may be NULL) is resumed when it ended. */
int domain_host_refresh(struct domain_host *h, struct op *op);
/* The policy in force (NULL: none, all is denied) with a reference, and its epoch. */
struct policy *mesh_policy(struct mesh *m, uint64_t *ret_epoch);
/* Reads the rules anew; a policy that does not load leaves the last good one in force (none: all is denied).  True: another policy is in
 * force now. */
bool mesh_reload_policy(struct mesh *m, struct err *e);
/* The snapshot that selectors are resolved in for this session: the one it met first where it pins, else the current one.  NULL: never
 * reached. */
struct snapshot *session_pin(struct session *s, struct domain_host *h);

#endif

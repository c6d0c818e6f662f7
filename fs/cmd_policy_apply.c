/* policy apply: waits until the mounts of this user on this host have taken the policy over, and says which did not. */
#include "catalog/base/clock.h"
#include "catalog/base/doc.h"
#include "catalog/base/hash.h"
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/progress.h"
#include "catalog/base/text.h"
#include "fs/domain_command.h"
#include "fs/policy_command.h"
#include "fs/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_BYTES_MAX (1u << 20)
#define PATIENCE_MS 10000 /* beyond the mesh's refresh */

struct applying {
	const struct mesh_config *mesh;
	char policy[SHA256_HEX_SIZE];
	int64_t deadline_ms;
	bool json;
	const atomic_bool *interrupted;
	struct progress *progress;
	uint64_t mounts, late;
};

/* What the mount says of itself: 1 when it has the policy, 0 not yet, -errno when it cannot be asked. */
static int ask(const struct applying *a, const char *mountpoint, char *ret_problem, size_t size)
{
	struct buf text = BUF_INIT;
	struct doc *d = NULL;
	struct err e = ERR_INIT;
	char *path = io_join(mountpoint, ".mesh/status.json");
	int r = path ? io_read_file(path, STATUS_BYTES_MAX, &text, &e) : -ENOMEM;
	if (!r)
		r = doc_parse("status.json", buf_text(&text), text.len, &d, &e);
	if (!r) {
		const char *policy = doc_get_text(doc_root(d), "policy"), *problem = doc_get_text(doc_root(d), "policy_error");
		r = policy && !strcmp(policy, a->policy);
		snprintf(ret_problem, size, "%s", problem ? problem : "");
	} else {
		snprintf(ret_problem, size, "%s", e.text);
	}
	doc_free(d);
	buf_free(&text);
	free(path);
	return r;
}

static void print_mount(const struct applying *a, const char *mountpoint, bool done, const char *problem)
{
	struct buf b = BUF_INIT;
	struct json j;
	if (!a->json) {
		if (done)
			printf("%s: the policy is in force\n", mountpoint);
		else
			printf("%s: another policy is in force still%s%s\n", mountpoint, problem[0] ? ": " : "", problem);
		return;
	}
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "mountpoint", mountpoint);
	json_field_bool(&j, "in_force", done);
	json_field_text(&j, "problem", problem[0] ? problem : NULL);
	json_close(&j, '}');
	printf("%s\n", buf_text(&b));
	buf_free(&b);
}

static bool concerns(const struct applying *a, const struct mount_facts *f, bool alive)
{
	return alive && f->mesh_path && !strcmp(f->mesh_path, a->mesh->path);
}

static int count_mount(void *arg, const struct mount_facts *f, bool alive)
{
	struct applying *a = arg;
	a->mounts += concerns(a, f, alive);
	return 0;
}

static int each_mount(void *arg, const struct mount_facts *f, bool alive)
{
	struct applying *a = arg;
	char problem[512] = "";
	int r;
	if (!concerns(a, f, alive))
		return 0;
	while (!(r = ask(a, f->mountpoint, problem, sizeof problem)) && clock_mono_ms() < a->deadline_ms && !atomic_load(a->interrupted)) {
		progress_add(a->progress, 0);
		usleep(50000);
	}
	a->late += r != 1;
	progress_add(a->progress, 1);
	progress_hide(a->progress);
	print_mount(a, f->mountpoint, r == 1, problem);
	return 0;
}

int policy_apply(const struct policy_command *c, bool json, bool quiet, struct err *e)
{
	struct applying a = { .mesh = c->browse.mesh, .json = json, .interrupted = interrupt_flag() };
	hex_format(policy_digest(c->policy)->bytes, SHA256_SIZE, a.policy);
	a.deadline_ms = clock_mono_ms() + a.mesh->refresh_ms + PATIENCE_MS;
	registry_list(count_mount, &a);
	a.progress = progress_start("waiting for mounts to take the policy over", "mounts", a.mounts, quiet);
	registry_list(each_mount, &a);
	progress_end(a.progress);
	if (a.late && atomic_load(a.interrupted))
		return err_set(e, -EINTR, "interrupted: %llu of %llu mounts have not taken the policy over yet; they do so by themselves",
			       (unsigned long long)a.late, (unsigned long long)a.mounts);
	if (a.late)
		return err_set(e, -EAGAIN, "%llu of %llu mounts did not take the policy over; their logs say why ('meshfs status' names them)",
			       (unsigned long long)a.late, (unsigned long long)a.mounts);
	if (!json && !a.mounts)
		printf("no mount of yours runs here; those of others take it over within %lld s\n", (long long)(a.mesh->refresh_ms + 999) / 1000);
	return 0;
}

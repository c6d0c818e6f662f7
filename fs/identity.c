#include "fs/identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUPS_MAX 65536 /* the kernel's limit */

/* A rule may ask for any of the groups: that one cannot be told (a directory that does not answer) must not pass for not being in it. */
static int add_groups(struct identity *who, struct err *e)
{
	gid_t *ids = calloc(GROUPS_MAX, sizeof *ids);
	int count = GROUPS_MAX, r = 0;
	who->groups = calloc(GROUPS_MAX + 1, sizeof *who->groups);
	if (!ids || !who->groups)
		r = err_set(e, -ENOMEM, "no memory");
	else if (getgrouplist(who->user, who->gid, ids, &count) < 0)
		r = err_set(e, -E2BIG, "%s is in more than %d groups", who->user, GROUPS_MAX);
	for (int i = 0; i < count && !r; i++) {
		errno = 0;
		struct group *g = getgrgid(ids[i]);
		if (g && !(who->groups[who->group_count++] = strdup(g->gr_name)))
			r = err_set(e, -ENOMEM, "no memory");
		else if (!g && errno && errno != ENOENT && errno != ESRCH && errno != EBADF && errno != EPERM) /* these mean: not found */
			r = err_set_kind(e, ERR_FAIL, -errno, "the name of group %u of %s cannot be found out: %s", (unsigned)ids[i], who->user, strerror(errno));
	}
	free(ids);
	return r;
}

/* A number that may stand for a user without a name (a container's, for example). */
static bool read_uid(const char *text, uid_t *ret)
{
	char *end;
	errno = 0;
	unsigned long n = strtoul(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || n >= (uid_t)-1)
		return false;
	*ret = (uid_t)n;
	return true;
}

int identity_of(const char *user, struct identity *ret, struct err *e)
{
	struct identity who = { .uid = getuid(), .gid = getgid() };
	struct passwd *p = user ? getpwnam(user) : getpwuid(who.uid);
	char number[16];
	if (!p && user) {
		if (!read_uid(user, &who.uid))
			return err_set_kind(e, ERR_FAIL, -ENOENT, "%s: no such user on this host", user);
		p = getpwuid(who.uid);
		who.gid = (gid_t)who.uid; /* nobody's group, rather than the caller's */
	}
	if (p) {
		who.uid = p->pw_uid;
		who.gid = p->pw_gid;
	}
	snprintf(number, sizeof number, "%u", (unsigned)who.uid);
	who.user = strdup(p ? p->pw_name : number);
	int r = who.user ? add_groups(&who, e) : err_set(e, -ENOMEM, "no memory");
	if (r) {
		identity_fini(&who);
		return r;
	}
	*ret = who;
	return 0;
}

void identity_fini(struct identity *who)
{
	for (size_t i = 0; i < who->group_count; i++)
		free(who->groups[i]);
	free(who->groups);
	free(who->user);
	*who = (struct identity){ 0 };
}

void identity_subject(const struct identity *who, struct subject *ret)
{
	*ret = (struct subject){ .user = who->user,
				 .uid = who->uid,
				 .groups = (const char *const *)who->groups,
				 .group_count = who->group_count };
}

bool identity_holds(const struct mesh_config *mesh)
{
	struct stat st;
	return geteuid() == 0 || (!stat(mesh->path, &st) && st.st_uid == geteuid());
}

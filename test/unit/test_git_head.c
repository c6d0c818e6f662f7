#include "catalog/base/io.h"
#include "fs/git_head.h"
#include "test/unit/check.h"

#include <errno.h>
#include <unistd.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static char folder[64];

static void put(const char *name, const char *text)
{
	char *path = io_join(folder, name);
	if (io_make_parents(path, 0700, NULL) || io_write_file(path, text, strlen(text), 0600, NULL))
		abort();
	free(path);
}

static int head(const char *below, char ret[GIT_COMMIT_MAX])
{
	char *path = io_join(folder, below);
	int r = git_head(path, ret);
	free(path);
	return r;
}

static void fresh(void)
{
	strcpy(folder, "/tmp/meshfs-git-XXXXXX");
	if (!mkdtemp(folder))
		abort();
}

TEST(branch_packed_detached_and_linked)
{
	char commit[GIT_COMMIT_MAX];
	fresh();
	CHECK_INT(head("", commit), -ENOENT);
	put(".git/HEAD", "ref: refs/heads/main\n");
	CHECK_INT(head("", commit), -ENOENT); /* no commit yet */
	put(".git/packed-refs", "# pack-refs with: peeled\nffffffffffffffffffffffffffffffffffffffff refs/heads/other\n" COMMIT " refs/heads/main\n");
	CHECK_INT(head("", commit), 0);
	CHECK_STR(commit, COMMIT);
	put(".git/refs/heads/main", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
	put("src/deep/x", "");
	CHECK_INT(head("src/deep", commit), 0);
	CHECK_STR(commit, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	put("linked/.git", "gitdir: ../.git/worktrees/linked\n");
	put(".git/worktrees/linked/HEAD", "ref: refs/heads/other\n");
	put(".git/worktrees/linked/commondir", "../..\n");
	CHECK_INT(head("linked", commit), 0);
	CHECK_STR(commit, "ffffffffffffffffffffffffffffffffffffffff");
	put(".git/HEAD", COMMIT "\n");
	CHECK_INT(head("", commit), 0);
	CHECK_STR(commit, COMMIT);
	put(".git/HEAD", "ref: ../../etc/passwd\n");
	CHECK_INT(head("", commit), -ENOENT);
	put(".git/HEAD", "nonsense\n");
	CHECK_INT(head("", commit), -ENOENT);
	io_remove_tree(folder, NULL);
}

CHECK_MAIN()

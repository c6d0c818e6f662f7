#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "policy/key.h"
#include "test/unit/check.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct err e;
static char folder[] = "/tmp/meshfs-key-XXXXXX";

static struct mesh_config *mesh_with_key(void)
{
	struct mesh_config *m = NULL;
	char *path = text_format("%s/mesh.yaml", folder);
	const char text[] = "mesh: acme\nkeys: { k1: k1.key, gone: gone.key }\n";
	mesh_parse(path, text, sizeof text - 1, &m, &e);
	free(path);
	return m;
}

TEST(a_process_that_has_read_a_key_leaves_no_core_dump)
{
	unsigned char key[POLICY_KEY_SIZE] = { 0 }, none[POLICY_KEY_SIZE] = { 0 };
	CHECK(mkdtemp(folder) != NULL);
	struct mesh_config *m = mesh_with_key();
	CHECK(m != NULL);
	char *path = text_format("%s/k1.key", folder);
	CHECK_INT(policy_key_make(path, &e), 0);
	CHECK_INT(policy_key_make(path, &e), -EEXIST);
	CHECK_INT(prctl(PR_SET_DUMPABLE, 1), 0);
	CHECK_INT(policy_key_read(m, "gone", key, &e), -ENOENT);
	CHECK_INT(chmod(path, 0640), 0);
	CHECK_INT(policy_key_read(m, "k1", key, &e), -EINVAL); /* others could read it */
	CHECK_INT(prctl(PR_GET_DUMPABLE), 1);
	CHECK_INT(chmod(path, 0600), 0);
	CHECK_INT(policy_key_read(m, "k1", key, &e), 0);
	CHECK(memcmp(key, none, sizeof key) != 0);
	CHECK_INT(prctl(PR_GET_DUMPABLE), 0);
	free(path);
	mesh_config_free(m);
	CHECK_INT(io_remove_tree(folder, NULL), 0);
}

CHECK_MAIN()

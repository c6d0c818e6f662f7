#include "policy/key.h"

#include "catalog/base/hash.h"
#include "catalog/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_file(int fd, const struct mesh_key *k, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st))
		return err_set(e, -errno, "key %s: %s: %s", k->name, k->path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size != POLICY_KEY_SIZE)
		return err_set(e, -EINVAL, "key %s: %s does not hold a key (%d bytes); 'meshfs policy key new' makes one", k->name, k->path,
			       POLICY_KEY_SIZE);
	if (st.st_mode & 077)
		return err_set(e, -EINVAL, "key %s: others may read %s; say 'chmod 600' of it", k->name, k->path);
	return 0;
}

int policy_key_read(const struct mesh_config *mesh, const char *name, unsigned char ret_key[POLICY_KEY_SIZE], struct err *e)
{
	const struct mesh_key *k = mesh_key_find(mesh, name);
	if (!k)
		return err_set(e, -ENOENT, "mesh.yaml names no key '%s'; 'meshfs policy key new %s' makes one", name, name);
	int fd = open(k->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_set(e, -errno, "key %s: cannot read %s: %s", name, k->path, strerror(errno));
	int r = check_file(fd, k, e);
	/* From here on nothing of this process is ever written down: a core dump would hold the key, and the values that it is for. */
	if (!r && prctl(PR_SET_DUMPABLE, 0))
		r = err_set(e, -errno, "key %s: this process cannot keep itself out of core dumps: %s", name, strerror(errno));
	if (!r && (r = io_read_full(fd, ret_key, POLICY_KEY_SIZE)))
		err_set(e, r, "key %s: cannot read %s: %s", name, k->path, strerror(-r));
	close(fd);
	return r;
}

void policy_key_fingerprint_of(const unsigned char key[POLICY_KEY_SIZE], unsigned char ret[8])
{
	static const char label[] = "meshfs key fingerprint";
	struct digest d;
	hmac_sha256_of(key, POLICY_KEY_SIZE, label, sizeof label - 1, &d);
	memcpy(ret, d.bytes, 8);
}

int policy_key_fingerprint(const struct mesh_config *mesh, const char *name, unsigned char ret[8], struct err *e)
{
	unsigned char key[POLICY_KEY_SIZE];
	int r = policy_key_read(mesh, name, key, e);
	if (r)
		return r;
	policy_key_fingerprint_of(key, ret);
	explicit_bzero(key, sizeof key);
	return 0;
}

int policy_key_make(const char *path, struct err *e)
{
	unsigned char key[POLICY_KEY_SIZE];
	int r = io_make_parents(path, 0700, e);
	if (r)
		return r;
	if (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key)
		return err_set(e, -EIO, "the kernel gave no random bytes");
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		explicit_bzero(key, sizeof key);
		if (errno == EEXIST)
			return err_set(e, -EEXIST, "%s: a key is there already, and one is never replaced; choose another name", path);
		return err_set(e, -errno, "cannot make %s: %s", path, strerror(errno));
	}
	r = io_write_full(fd, key, sizeof key);
	explicit_bzero(key, sizeof key);
	if (!r && (fchmod(fd, 0600) || fsync(fd)))
		r = -errno;
	if (close(fd) && !r)
		r = -errno;
	if (r) {
		unlink(path);
		return err_set(e, r, "cannot write %s: %s", path, strerror(-r));
	}
	return 0;
}

"""What the documentation says is what the program does."""
import re
import subprocess

from meshkit import TOP, binary, need_fuse


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (TOP / path).read_text(), re.S | re.M)


def shell_environment(mesh):
    """As a user has it who installed the program."""
    env = mesh.environment()
    env["PATH"] = f"{TOP / 'build'}:{env['PATH']}"
    env.pop("MESHFS_MESH", None)
    return env


def test_the_tour_of_the_readme(meshes):
    need_fuse()
    mesh = meshes(init=False)
    tour = blocks("README.md", "sh")
    assert len(tour) >= 6
    home = mesh.environment()["HOME"]
    try:
        done = subprocess.run(["bash", "-exc", "\n".join(tour)], cwd=home, env=shell_environment(mesh), capture_output=True, text=True,
                              timeout=120)
    finally:
        subprocess.run([binary(), "umount", f"{home}/mesh"], env=shell_environment(mesh), capture_output=True)
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "order_id,customer,email,amount\n1,ana,ana@example.org,12.50\n" in out  # the mount, no purpose
    assert "order_id,customer,amount\n1,ana,12.50\n2,bo,7.00\n" in out  # the run, training
    assert "1 passed, 0 failed" in out
    assert re.search(r"served  sales/orders/1.0.0/orders.csv  by cat\[\d+\] in churn-model", out)
    assert "version sales/totals/1.0.0\n  run totals" in out

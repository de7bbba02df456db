# The programs, and what each does.
{
  nixmox-deploy = "Bring hosts to what the repository says, and back when something is wrong";
  nixmox-install = "Make machines that run anything into hosts of the repository";
  nixmox-manifest = "Check, draw and plan a manifest of services";
  nixmox-secrets = "Edit, seal and check the secrets of a fleet";
  nixmox-sops = "What the program sops does to files, with age keys";
}

eval "$(occystrap completion bash)"
